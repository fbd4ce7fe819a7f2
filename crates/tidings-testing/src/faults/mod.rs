//! Faults on purpose: a broker around a broker that duplicates, delays, reorders, loses and fails, as engines and networks do.
//!
//! Nothing is injected that an engine which keeps its promises could not do: at least once stays at least once, and the order of
//! a key stays, so that whatever goes wrong behind it is a bug of the program under test. Here are the wrapper ([`Faulty`]), what it
//! injects ([`Fault`]), how often ([`Rate`]) and what it injected ([`Injected`]). Not here: servers that are killed and
//! connections that are cut (`servers`).

mod choice;
mod consume;
mod hand;
mod plan;
mod publish;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Health, KeyOrder, Link, Message, PublishFailures, Subscribed, Subscription,
};

use choice::Choice;
pub use choice::Injected;
use hand::Hand;
pub use plan::{Fault, Rate};

/// A broker with faults, around any other. Without a fault asked for it does what that one does. A clone is the same one.
///
/// Each fault has a [`Rate`]: a probability, or how often each message is hit. One seed drives all: who is hit depends on it and on
/// the message (topic, type, key and body, not its id, which is another one in each run), not on how tasks happen to run. So the
/// same seed with the same events injects the same faults. It is random unless [`Faulty::with_seed`] or the variable
/// `FAULTS_SEED` says it, and a test that panics while it has a [`Faulty`] prints it.
///
/// ```
/// use std::sync::Arc;
/// use tidings_core::Broker;
/// use tidings_testing::faults::{Fault, Faulty};
/// # use tidings_core::{GroupName, Members, Message, Fetched, Source, Subscription, Topic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # let broker = tidings_memory::Memory::private(tidings_memory::Settings::default());
/// let faulty = Faulty::around(Arc::new(broker)).duplicates(0.1).lost_settlements(0.1).failed_publishes(1);
/// let broker: Arc<dyn Broker> = Arc::new(faulty.clone()); // what the program under test gets
///
/// # let message = Message::builder(Topic::new("user.created").unwrap(), Source::new("/s").unwrap(), "{}".into()).build();
/// assert!(broker.publish(&[message.clone()]).await.is_err()); // each message's first publish fails
/// assert!(broker.publish(&[message]).await.is_ok());
/// assert_eq!(faulty.injected().count(Fault::FailedPublish), 1);
/// # }
/// ```
///
/// On an engine that keeps nothing no settlement is lost and nothing is taken away, since it would not come again.
/// What a message remembers is kept for as long as this lives: it is for tests, not for weeks.
#[derive(Clone)]
pub struct Faulty {
    broker: Arc<dyn Broker>,
    choice: Choice,
    /// Whether the seed was printed.
    told: Arc<AtomicBool>,
}

impl Faulty {
    /// A broker around `broker`, without a fault yet.
    ///
    /// # Panics
    /// When `FAULTS_SEED` is no number.
    #[must_use]
    pub fn around(broker: Arc<dyn Broker>) -> Self {
        Self { broker, choice: Choice::new(choice::seed()), told: Arc::default() }
    }

    /// The seed, instead of that of the environment or a random one.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.choice.seed = seed;
        self
    }

    /// Deliveries come twice, each with a receipt of its own; the last settlement of the two counts.
    #[must_use]
    pub fn duplicates(mut self, rate: impl Into<Rate>) -> Self {
        self.choice.plan.duplicates = rate.into();
        self
    }

    /// Deliveries are held back for up to `longest`, and those of their key behind them.
    #[must_use]
    pub fn delays(mut self, rate: impl Into<Rate>, longest: Duration) -> Self {
        (self.choice.plan.delays, self.choice.plan.longest) = (rate.into(), longest);
        self
    }

    /// Deliveries are passed by the next one of another key, if one comes within 20 ms.
    #[must_use]
    pub fn reorders(mut self, rate: impl Into<Rate>) -> Self {
        self.choice.plan.reorders = rate.into();
        self
    }

    /// Delays and reorders break the order of keys too. It then is a broker without such an order and says so.
    #[must_use]
    pub fn within_keys(mut self) -> Self {
        self.choice.plan.within_keys = true;
        self
    }

    /// Settlements do not reach the engine: the message comes again.
    #[must_use]
    pub fn lost_settlements(mut self, rate: impl Into<Rate>) -> Self {
        self.choice.plan.lost_settlements = rate.into();
        self
    }

    /// Publishes fail, and the message is not taken: all of a batch or some of it, and then those of its key behind it.
    #[must_use]
    pub fn failed_publishes(mut self, rate: impl Into<Rate>) -> Self {
        self.choice.plan.failed_publishes = rate.into();
        self
    }

    /// Publishes fail, although the message is taken.
    #[must_use]
    pub fn lost_acknowledgements(mut self, rate: impl Into<Rate>) -> Self {
        self.choice.plan.lost_acknowledgements = rate.into();
        self
    }

    /// A delivery is followed by [`Leaving`](tidings_core::Fetched::Leaving) of all that is in hand of its key. Nothing more of the
    /// key comes until that is settled; after 5 s it is lost.
    #[must_use]
    pub fn leaving(mut self, rate: impl Into<Rate>) -> Self {
        self.choice.plan.leaving = rate.into();
        self
    }

    /// A delivery is followed by [`Lost`](tidings_core::Fetched::Lost) of all that is in hand of its key, at once or when its handler
    /// has ended. It comes again, and what is settled of it is passed over.
    #[must_use]
    pub fn lost(mut self, rate: impl Into<Rate>) -> Self {
        self.choice.plan.lost = rate.into();
        self
    }

    /// The seed: with it, and the same events, another run injects the same faults.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.choice.seed
    }

    /// What was injected so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.choice.injected()
    }
}

impl Broker for Faulty {
    fn name(&self) -> &'static str {
        self.broker.name()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.broker.capabilities();
        if self.choice.plan.within_keys {
            capabilities.key_order = KeyOrder::None;
        }
        capabilities
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(publish::publish(&self.choice, &*self.broker, batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        self.broker.flush()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            let mut choice = self.choice.clone();
            if !self.broker.capabilities().durable {
                choice.plan = choice.plan.without_returns();
            }
            let hand = Hand::new(choice, subscription.clone());
            Ok(consume::between(hand, self.broker.subscribe(subscription).await?))
        })
    }

    fn health(&self) -> Health {
        self.broker.health()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        self.broker.counters()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.broker.close()
    }
}

impl Drop for Faulty {
    #[expect(clippy::print_stderr, reason = "who reads a failed test is to see it, and nobody else")]
    fn drop(&mut self) {
        if std::thread::panicking() && !self.told.swap(true, Ordering::Relaxed) {
            let (variable, seed, injected) = (choice::VARIABLE, self.seed(), self.injected());
            eprintln!("faults: {injected:?} by the seed {seed}; {variable}={seed} injects them again");
        }
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut all = f.debug_struct("Faulty");
        all.field("broker", &self.broker.name())
            .field("seed", &self.seed())
            .field("injected", &self.injected())
            .finish_non_exhaustive()
    }
}
