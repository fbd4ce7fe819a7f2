//! The delivery loop: from a broker's deliveries to settled outcomes.
//!
//! Each subscription has a loop of its own ([`Subscriber`]), so that a slow handler slows its own subscription alone. A loop
//! fetches what there is room for, keeps messages of one key apart in lanes ([`hand`]), polls each handler once in place and
//! makes a task of it only when it is still pending ([`attempt`]), decides by the retry policy what follows a failure
//! ([`policy`]), and hands outcomes to a task that settles them in batches ([`settling`]) beside another that keeps up the
//! leases ([`leases`]) and one that stores dead letters ([`burial`]).
//!
//! Not here: what a handler is (`handlers`), what an engine does (the brokers), and when a service starts and stops
//! (`service`).

mod alone;
mod attempt;
mod backlog;
mod burial;
mod cells;
mod clock;
mod error;
mod failing;
mod hand;
mod harness;
mod leases;
mod letter;
mod plan;
mod policy;
mod polls;
mod settling;
mod subscriber;
mod tries;
mod turns;
mod watch;
mod work;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

pub(crate) use alone::Alone;
pub(crate) use attempt::span_now;
pub(crate) use backlog::Backlog;
pub use clock::Clock;
pub(crate) use error::SubscribeError;
pub use harness::{Bounds, Harness};
pub(crate) use subscriber::Subscriber;
use tidings_core::{Broker, Receipt, Text};
use tokio_util::sync::CancellationToken;
pub use watch::{Attempt, Ended, Watch};

use crate::{Publisher, handlers::Retry, metrics::Metrics};

/// What the subscriptions of a service share.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) broker: Arc<dyn Broker>,
    /// What handlers publish with.
    pub(crate) publisher: Publisher,
    /// The instance's id, for dead letters.
    pub(crate) instance: Text,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    /// Lets one subscription run a message with nothing beside it: one for all of a service.
    pub(crate) alone: Alone,
    /// Who looks on, in tests.
    pub(crate) watch: Option<Arc<dyn Watch>>,
    /// What time it is, which tests move.
    pub(crate) clock: Clock,
}

impl Ground {
    pub(crate) fn new(broker: Arc<dyn Broker>, publisher: Publisher, instance: Text, limits: Limits, metrics: Metrics) -> Self {
        Self { broker, publisher, instance, limits, metrics, alone: Alone::default(), watch: None, clock: Clock::default() }
    }
}

/// What bounds each subscription of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// The most messages that run or wait for a slot; at least `concurrency`.
    pub(crate) in_flight: usize,
    /// The most handlers that run, where the registration does not say.
    pub(crate) concurrency: usize,
    /// The most messages that wait for their next attempt or behind one that does.
    pub(crate) parked: usize,
    /// The same in bytes.
    pub(crate) parked_bytes: usize,
    /// How long one attempt may take, where the registration does not say.
    pub(crate) handler_timeout: Duration,
    /// How long a handler may keep a transaction in which nobody else can write, where the registration does not say.
    pub(crate) transaction_timeout: Duration,
    /// When a failed attempt is repeated, where the registration does not say.
    pub(crate) retry: Retry,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 256,
            concurrency: 64,
            parked: 4096,
            parked_bytes: 64 * 1024 * 1024,
            handler_timeout: Duration::from_secs(30),
            transaction_timeout: Duration::from_secs(2),
            retry: Retry::default(),
        }
    }
}

/// How a subscription is asked to end; both are asked once, `stop` first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    /// Fetch no more: what runs is finished, what does not run yet goes back.
    pub(crate) stop: CancellationToken,
    /// Cancel what still runs: it goes back too.
    pub(crate) cut: CancellationToken,
    /// Set when something computes on that cannot be cancelled: the end of the runtime would wait for it for ever.
    pub(crate) hung: Arc<AtomicBool>,
}

/// What the tasks of a subscription tell its loop. As many as are under way at most: what runs, is being settled or buried.
#[derive(Debug)]
enum Event {
    /// An attempt that had become a task.
    Ended(attempt::Ended),
    /// So many outcomes are stored.
    Settled(usize),
    /// The dead letters of these are stored.
    Buried(Vec<hand::Ticket>),
    /// Others may have these by now.
    Lost(Vec<Receipt>),
}

#[cfg(test)]
pub(crate) mod simulation;
#[cfg(test)]
mod tests;
