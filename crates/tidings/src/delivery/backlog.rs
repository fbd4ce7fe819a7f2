//! Whether a subscription has had what waited for it when its service started.
//!
//! No engine tells it. What does: a message that was published later, since what waited comes first; or that nothing comes for
//! longer than any lease, though the broker is there and the subscription has nothing else in hand. Either is what this instance
//! sees, not the whole group: it is for brokers that do not say how long they keep messages. Where one does, nothing that is older
//! can come again, and rows stay as long as that.

#![cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code, reason = "what only the inbox asks"))]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tidings_core::Message;
use tokio::time::Instant;

/// How long nothing comes: longer than a lease, for what an instance that died had in hand comes when that ends.
const CALM: Duration = Duration::from_secs(60);
/// How often the broker is looked at meanwhile.
const LOOK: Duration = Duration::from_secs(5);

/// How much later a message was published, so that the publisher's clock does not decide.
const LATER: Duration = Duration::from_secs(60);

/// What waited for a subscription when its service started. Clones are the same backlog.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    began: SystemTime,
    drained: Arc<AtomicBool>,
}

impl Backlog {
    /// That of a subscription which began then.
    pub(crate) fn since(began: SystemTime) -> Self {
        Self { began, drained: Arc::default() }
    }

    /// Whether all of it has come, or is gone at a broker that keeps messages for `kept`; one that does not say says zero.
    pub(crate) fn is_drained(&self, kept: Duration) -> bool {
        let gone = || !kept.is_zero() && self.began.elapsed().is_ok_and(|since| since >= kept);
        self.drained.load(Ordering::Relaxed) || gone()
    }

    /// Says that it has.
    pub(crate) fn say_drained(&self) {
        self.drained.store(true, Ordering::Relaxed);
    }
}

/// The loop's look at its backlog, until that is drained.
#[derive(Debug)]
pub(super) struct Watched {
    backlog: Backlog,
    calm_since: Option<Instant>,
}

impl Watched {
    pub(super) fn new(backlog: Backlog) -> Self {
        Self { backlog, calm_since: None }
    }

    /// These came; answers whether the backlog is drained.
    pub(super) fn came<'a>(&mut self, mut messages: impl Iterator<Item = &'a Message>) -> bool {
        self.calm_since = None;
        let (from, to) = (self.backlog.began + LATER, SystemTime::now() + LATER);
        let later = |message: &Message| message.time().is_some_and(|time| from < time && time < to);
        let drained = messages.any(later);
        if drained {
            self.backlog.say_drained();
        }
        drained
    }

    /// Nothing can come: the broker does not answer.
    pub(super) fn failed(&mut self) {
        self.calm_since = None;
    }

    /// Nothing came so far; answers when to look again, until that shows that the backlog is drained.
    ///
    /// It shows nothing while nothing could come: when the subscription is not idle, or the broker is away.
    pub(super) fn look(&mut self, now: Instant, idle: bool, broker_is_up: bool) -> Option<Instant> {
        if !(idle && broker_is_up) {
            self.calm_since = None;
            return idle.then(|| now + LOOK);
        }
        let until = *self.calm_since.get_or_insert(now) + CALM;
        if now < until {
            return Some(until.min(now + LOOK));
        }
        self.backlog.say_drained();
        None
    }
}
