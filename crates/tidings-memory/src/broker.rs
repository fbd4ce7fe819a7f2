//! One opening of an in-process broker.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Delay, EarliestStart, Health, KeyOrder, Link, Message, PublishError,
    PublishFailures, Start, Subscribed, Subscription, url::Url,
};
use tokio::task::coop::consume_budget;

use crate::{
    NAME, Settings,
    consume::{Fetcher, Settler},
    hub::{Hub, Seat},
    later::Later,
    publish::Progress,
    queue::MemberId,
    settings,
};

/// The brokers of this process by name; each lives as long as one of its openings or subscriptions.
static NAMED: LazyLock<Mutex<HashMap<String, Weak<Hub>>>> = LazyLock::new(Mutex::default);

/// An in-process broker.
///
/// Applications open one by its URL. A test that wants to look at the dead letters, or a broker that nobody else can
/// find, takes one of these.
///
/// ```
/// # use tidings_memory::{Memory, Settings};
/// let broker = Memory::private(Settings::default());
/// assert!(broker.dead_letters().is_empty());
/// ```
#[derive(Debug)]
pub struct Memory {
    hub: Arc<Hub>,
    opening: Arc<Opening>,
}

/// What ends when one opening is closed, while others go on.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    closed: AtomicBool,
    seats: Mutex<Vec<Seat>>,
}

impl Memory {
    /// A broker that nobody else can open.
    #[must_use]
    pub fn private(settings: Settings) -> Self {
        Self { hub: Arc::new(Hub::new(settings)), opening: Arc::default() }
    }

    /// The broker of that URL in this process.
    ///
    /// # Errors
    /// When the URL or a setting in it is wrong, or the name is in use with other settings.
    pub fn open(url: &Url) -> Result<Self, BrokerError> {
        let (name, settings) = settings::read(url)?;
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        named.retain(|_, hub| hub.strong_count() > 0);
        let hub = match named.get(&name).and_then(Weak::upgrade) {
            Some(hub) if hub.settings != settings => return Err(settings::conflict(url, hub.settings)),
            Some(hub) => hub,
            None => Arc::new(Hub::new(settings)),
        };
        named.insert(name, Arc::downgrade(&hub));
        Ok(Self { hub, opening: Arc::default() })
    }

    /// The newest dead letters, oldest first: at most 1,000 and 64 MiB are kept.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<Message> {
        self.hub.letters()
    }
}

impl Broker for Memory {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.hub.settings)
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            // A publisher that never waits must still let the handlers of its thread run.
            consume_budget().await;
            let mut progress = Progress::default();
            if !self.opening.is_closed() {
                self.hub.publish(batch, &mut progress);
            }
            if progress.next < batch.len() {
                self.publish_rest(batch, &mut progress).await;
            }
            PublishFailures::check(progress.failed)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        Box::pin(async { self.opening.check().map(|()| Link(0)) })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            if matches!(subscription.start, Some(Start::First | Start::At(_))) {
                return Err(BrokerError::Unsupported {
                    broker: NAME,
                    capability: "start a group at a message that was published before",
                    instead: "start it now, or use sqlite:PATH, which keeps messages",
                });
            }
            if subscription.unsettled > self.capabilities().max_unsettled {
                return Err(BrokerError::Unsupported {
                    broker: NAME,
                    capability: "have more than 65,535 deliveries unsettled in one subscription",
                    instead: "lower in_flight or parked",
                });
            }
            let seat = self.opening.take_seat(|| self.hub.join(&subscription))?;
            let (hub, opening) = (Arc::clone(&self.hub), Arc::clone(&self.opening));
            let settler = Settler { hub: Arc::clone(&hub), opening: Arc::clone(&opening) };
            let halves: Subscribed = (Box::new(Fetcher { hub, opening, seat }), Arc::new(settler));
            Ok(halves)
        })
    }

    fn health(&self) -> Health {
        if self.opening.is_closed() { Health::Down("closed".to_owned()) } else { Health::Up }
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("duplicates", self.hub.lock().duplicates)]
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            for seat in self.opening.close() {
                self.hub.leave(&seat);
            }
            self.hub.room.notify_waiters();
            Ok(())
        })
    }
}

pub(crate) fn capabilities(settings: &Settings) -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.durable = true;
    capabilities.groups = true;
    capabilities.wildcards = true;
    capabilities.key_order = KeyOrder::Group;
    capabilities.delay = Delay::Native;
    capabilities.longest_delay = Later::LONGEST;
    capabilities.deduplication = true;
    capabilities.attempt_counts = true;
    capabilities.earliest_start = EarliestStart::Now;
    capabilities.max_message = settings.largest_event();
    capabilities
}

impl Memory {
    /// Waits for room, again and again; a closed broker takes no more.
    async fn publish_rest(&self, batch: &[Message], progress: &mut Progress) {
        while progress.next < batch.len() {
            // Made before looking: a bell that rings in between is heard.
            let room = self.hub.room.notified();
            if self.opening.is_closed() {
                progress.failed.extend((progress.next..batch.len()).map(|place| (place, PublishError::Closed)));
                return;
            }
            self.hub.publish(batch, progress);
            if progress.next < batch.len() {
                room.await;
            }
        }
    }
}

impl Opening {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn check(&self) -> Result<(), BrokerError> {
        if self.is_closed() { Err(BrokerError::Closed { broker: NAME }) } else { Ok(()) }
    }

    /// Joins and remembers it, unless closed; `close` waits for it, so that no member is left behind.
    fn take_seat(&self, join: impl FnOnce() -> Seat) -> Result<Seat, BrokerError> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        self.check()?;
        let seat = join();
        seats.push(seat.clone());
        Ok(seat)
    }

    pub(crate) fn forget(&self, member: MemberId) {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner).retain(|seat| seat.member != member);
    }

    fn close(&self) -> Vec<Seat> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        self.closed.store(true, Ordering::Release);
        std::mem::take(&mut seats)
    }
}
