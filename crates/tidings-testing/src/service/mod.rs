//! Handlers under test: the framework's own loop over the in-process broker, without a port, a server or a sleep.
//!
//! Here is what a test publishes with and what it asks afterwards ([`TestService`]). Not here: the loop, which is the one that
//! runs in production, and the broker, which passes the same suite as the others.

mod dead_letter;
mod not_seen;
mod postponed;
mod recorder;
mod seen;

use std::{sync::Arc, time::Duration};

use tidings::{
    __private::{Clock, Harness},
    Event, Message, Publish, PublishError, Publisher, Result, Source,
    handlers::Complete,
};
use tidings_core::Broker;
use tidings_memory::{Memory, Settings};
use tokio::time::Instant;

pub use dead_letter::DeadLetter;
pub use not_seen::NotSeen;
use postponed::Postponed;
use recorder::Recorder;
use seen::Seen;
pub use seen::{Attempt, Outcome};

/// Handlers that run in a test, in memory.
///
/// They get what the test publishes as they would from any broker: decoded, one at a time for each key, retried by their
/// policy, given up into the dead letters.
///
/// ```
/// use tidings::{Event, Failure, Handlers, Publisher};
/// use tidings_testing::TestService;
/// # #[derive(Debug, PartialEq, Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created", key = "id")]
/// # struct UserCreated { id: u32 }
/// # #[derive(Debug, PartialEq, Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.welcomed")]
/// # struct UserWelcomed { id: u32 }
///
/// async fn welcome(user: UserCreated, publisher: Publisher) -> Result<(), Failure> {
///     publisher.publish(&UserWelcomed { id: user.id }).await?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tidings::Result<()> {
/// // #[tokio::test]
/// let service = TestService::start(Handlers::new().on(welcome)).await?;
/// service.publish(&UserCreated { id: 7 }).await?;
///
/// assert_eq!(service.handled::<UserCreated>().await?, UserCreated { id: 7 });
/// assert_eq!(service.published::<UserWelcomed>()?, [UserWelcomed { id: 7 }]);
/// assert!(service.dead_letters().is_empty());
/// # Ok(())
/// # }
/// ```
///
/// A handler that fails is tried again after its policy's waits. They take no time: the service has a clock of its own, which goes to
/// the next attempt when the test waits for something and no handler runs. [`TestService::advance`] moves it for all else, such as a
/// handler that takes too long:
///
/// ```
/// # use tidings::{Event, Failure, Handlers};
/// # use tidings_testing::TestService;
/// # #[derive(Debug, PartialEq, Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created", key = "id")]
/// # struct UserCreated { id: u32 }
/// async fn never(_: UserCreated) -> Result<(), Failure> {
///     Err("the mail server is away".into())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> tidings::Result<()> {
/// // #[tokio::test]
/// let service = TestService::start(Handlers::new().on(never)).await?;
/// service.publish(&UserCreated { id: 7 }).await?;
///
/// let letter = service.dead_letter::<UserCreated>().await?;
/// assert_eq!((letter.attempts(), letter.error()), (5, "the mail server is away"));
/// assert_eq!(service.attempts::<UserCreated>().len(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestService {
    broker: Arc<Memory>,
    recorder: Recorder,
    seen: Arc<Seen>,
    publisher: Publisher,
    patience: Duration,
    clock: Clock,
    begun: Instant,
    harness: Harness,
}

impl TestService {
    /// How long [`TestService::handled`] and [`TestService::dead_letter`] wait, unless [`TestService::within`] says otherwise.
    pub const PATIENCE: Duration = Duration::from_secs(10);
    /// What the service is called; its default group too.
    pub const NAME: &'static str = "test";

    /// Runs the handlers; what is published from now on reaches them. A drop ends them.
    ///
    /// # Errors
    /// Those that a service would end with at its start: two handlers of one subscription, a policy that cannot be.
    pub async fn start(handlers: impl Complete) -> Result<Self> {
        Self::start_on(handlers, |memory| memory).await
    }

    /// The same on what `around` makes of the broker: [`Faulty`](crate::faults::Faulty), so that a handler is tried with events that
    /// come twice, late, or again.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use tidings::{Event, Handlers};
    /// use tidings_testing::{TestService, faults::Faulty};
    /// # #[derive(Debug, PartialEq, Event, serde::Serialize, serde::Deserialize)]
    /// # #[event(topic = "user.created", key = "id")]
    /// # struct UserCreated { id: u32 }
    /// # async fn welcome(user: UserCreated) {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tidings::Result<()> {
    /// let handlers = Handlers::new().on(welcome);
    /// let service = TestService::start_on(handlers, |broker| Arc::new(Faulty::around(broker).duplicates(0.5))).await?;
    /// service.publish(&UserCreated { id: 7 }).await?;
    /// assert_eq!(service.handled::<UserCreated>().await?, UserCreated { id: 7 });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`TestService::start`].
    pub async fn start_on(handlers: impl Complete, around: impl FnOnce(Arc<dyn Broker>) -> Arc<dyn Broker>) -> Result<Self> {
        let broker = Arc::new(Memory::private(Settings::default()));
        let clock = Clock::movable();
        let begun = clock.now();
        let seen = Arc::new(Seen::new(begun));
        let postponed: Arc<dyn Broker> = Arc::new(Postponed::new(broker.clone(), clock.clone()));
        let recorder = Recorder::new(around(Arc::clone(&postponed)), Arc::clone(&seen));
        let publisher = Publisher::new(postponed, Source::new("/the-test")?);
        let watch = Arc::clone(&seen);
        let harness = Harness::by(clock.clone(), Arc::new(recorder.clone()), Self::NAME, handlers.complete(), watch).await?;
        Ok(Self { broker, recorder, seen, publisher, patience: Self::PATIENCE, clock, begun, harness })
    }

    /// Waits that long for what is asked for.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Moves the service's clock: attempts that are due begin, handlers that have taken too long are cut, and events that were
    /// published with a delay come when it is over. Those wait for this, whatever the test waits for.
    pub fn advance(&self, time: Duration) {
        self.clock.advance(time);
    }

    /// How much time has passed on the service's clock since it started.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.now().saturating_duration_since(self.begun)
    }

    /// Publishes an event, as another service would.
    ///
    /// # Errors
    /// When it cannot be encoded, or is too large.
    pub async fn publish<E: Event>(&self, event: &E) -> Result<(), PublishError> {
        self.publisher.publish(event).await
    }

    /// Publishes events with a key, headers or a delay, as another service would.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings::{Event, Handlers, Publish};
    /// use tidings_testing::TestService;
    /// # #[derive(Debug, PartialEq, Event, serde::Serialize, serde::Deserialize)]
    /// # #[event(topic = "user.created", key = "id")]
    /// # struct UserCreated { id: u32 }
    /// # async fn welcome(user: UserCreated) {}
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> tidings::Result<()> {
    /// let service = TestService::start(Handlers::new().on(welcome)).await?;
    /// service.send(&Publish::one(UserCreated { id: 7 }).delay(Duration::from_secs(3_600))).await?;
    /// service.advance(Duration::from_secs(3_600));
    /// assert_eq!(service.handled::<UserCreated>().await?, UserCreated { id: 7 });
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When one cannot be encoded, is too large, or is delayed for more than 7 days.
    pub async fn send<E: Event>(&self, events: &Publish<E>) -> Result<(), PublishError> {
        self.publisher.send(events).await
    }

    /// Publishes a message as it is: a body that cannot be read, a topic that nobody expects.
    ///
    /// # Errors
    /// When it is too large, or its topic is not one.
    pub async fn publish_message(&self, message: &Message) -> Result<(), PublishError> {
        self.publisher.publish_message(message).await
    }

    /// The next event of this type that a handler handled; those that were answered before are passed over.
    ///
    /// # Errors
    /// When none is within [`TestService::PATIENCE`]; it tells what happened instead.
    ///
    /// # Cancel safety
    /// A dropped future takes none.
    pub async fn handled<E: Event>(&self) -> Result<E, NotSeen> {
        let message = self.seen.handled::<E>(&self.clock, self.patience).await?;
        E::from_message(&message).map_err(|source| NotSeen::Undecodable { topic: E::TOPIC, source })
    }

    /// The next event of this type that was given up; those that were answered before are passed over.
    ///
    /// # Errors
    /// When none is within [`TestService::PATIENCE`]; it tells what happened instead.
    ///
    /// # Cancel safety
    /// A dropped future takes none.
    pub async fn dead_letter<E: Event>(&self) -> Result<DeadLetter, NotSeen> {
        Ok(DeadLetter(self.seen.letter::<E>(&self.clock, self.patience, || self.broker.dead_letters()).await?))
    }

    /// All that was given up so far, oldest first.
    #[must_use]
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.broker.dead_letters().into_iter().map(DeadLetter).collect()
    }

    /// All attempts at events of this type that ended so far, in that order.
    #[must_use]
    pub fn attempts<E: Event>(&self) -> Vec<Attempt> {
        self.seen.attempts::<E>()
    }

    /// All events of this type that handlers published so far, by their [`Publisher`].
    ///
    /// # Errors
    /// When one cannot be decoded as this type.
    pub fn published<E: Event>(&self) -> Result<Vec<E>, NotSeen> {
        let decode =
            |message: &Message| E::from_message(message).map_err(|source| NotSeen::Undecodable { topic: E::TOPIC, source });
        self.recorder.published().iter().filter(|message| seen::is::<E>(message)).map(decode).collect()
    }

    /// All that handlers published so far, as messages, in order.
    #[must_use]
    pub fn published_messages(&self) -> Vec<Message> {
        self.recorder.published()
    }

    /// Ends it as a service ends: what runs is finished.
    ///
    /// # Errors
    /// When a subscription did not end in order.
    pub async fn stop(self) -> Result<()> {
        self.harness.stop().await
    }
}
