//! The broker trait: small, object-safe, batched in both directions.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration, time::SystemTime};

use crate::{BrokerError, Capabilities, GroupName, Message, PublishFailures, Text, TopicPattern};

/// A future behind a pointer, so that the traits are object-safe.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who opens a broker: what the engine shows to its operator, and what tells instances apart.
#[derive(Debug, Clone)]
pub struct Client {
    /// The service's name.
    pub service: Text,
    /// The instance's id.
    pub instance: Text,
}

/// What carries messages.
///
/// Every future may be dropped: a dropped `publish` may or may not have published, a dropped `subscribe` leaves nothing
/// behind.
pub trait Broker: Send + Sync {
    /// What it is called in logs, errors and metrics: its URL's scheme.
    fn name(&self) -> &'static str;

    /// What the engine can do; the same for as long as it is open.
    fn capabilities(&self) -> Capabilities;

    /// Publishes a batch, pipelined; returns when the broker has taken responsibility for all of it.
    ///
    /// An engine that keeps nothing takes no responsibility: there it returns when the client has the messages, in order,
    /// and [`Broker::flush`] tells when the server has.
    ///
    /// # Errors
    /// Exactly the messages that were not taken, and why.
    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>>;

    /// Waits until the server has what was published, and tells over which connection.
    ///
    /// What was published between two flushes that answer the same [`Link`] is at the server; after another one it may not
    /// be, and is to be sent again. An engine that keeps messages has nothing left to do and always answers the same.
    ///
    /// # Errors
    /// When the server cannot be asked.
    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>>;

    /// Subscribes; returns when the server knows of it: what is published from now on arrives.
    ///
    /// # Errors
    /// When the engine cannot be reached or cannot do what is asked.
    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>>;

    /// Whether it works, as known now; cheap enough to be asked every second.
    fn health(&self) -> Health;

    /// What it has counted since it was opened, for metrics: names in snake case, values that only rise.
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }

    /// Ends it: what was published is at the server, every pending future ends within 5 s.
    ///
    /// # Errors
    /// When the server could not be told.
    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>>;
}

/// The two halves of a subscription.
pub type Subscribed = (Box<dyn Fetch>, Arc<dyn Settle>);

/// The number of a connection; see [`Broker::flush`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link(pub u64);

/// Whether a broker works.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It does.
    Up,
    /// It does, but an operator should look: a store is nearly full.
    Warning(String),
    /// It does not, and why.
    Down(String),
}

/// What a subscription asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Who shares it.
    pub group: GroupName,
    /// Which topics.
    pub pattern: TopicPattern,
    /// Whether the group's instances share the messages.
    pub members: Members,
    /// Where a new group begins; `None` is the earliest that the engine can. One it cannot do is refused.
    pub start: Option<Start>,
    /// The most deliveries that may be unsettled at once.
    pub unsettled: usize,
}

/// How the instances of a group stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// Each message goes to one of them.
    Share,
    /// Each message goes to all; begins now, ends with the instance, leaves nothing behind.
    Each,
}

/// Where a new group begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the first message that is kept.
    First,
    /// With what is published from now on.
    Now,
    /// With the first message that was published at that time or later.
    At(SystemTime),
}

/// The fetching half of a subscription. A drop is a crash: use [`Fetch::close`].
pub trait Fetch: Send {
    /// Waits for at least one delivery and takes what is there, up to `max`.
    ///
    /// With `max` 0 it keeps up membership and leases and waits for [`Fetched::Leaving`] and [`Fetched::Lost`] alone. Whoever has no
    /// room waits in such a fetch: where an engine sends unasked, that is what bounds what it sent.
    ///
    /// # Errors
    /// When the subscription has ended; a connection that comes back by itself is no error.
    ///
    /// # Cancel safety
    /// A dropped future loses nothing.
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>>;

    /// Leaves, after the last settle: what is settled is stored, the rest goes back in order.
    ///
    /// # Errors
    /// When the server could not be told.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>>;
}

/// What a fetch brings.
#[derive(Debug)]
pub enum Fetched {
    /// Messages, at least one.
    Deliveries(Vec<Delivery>),
    /// These are about to go to another instance: finish and settle them (or hand them back); the engine waits up to 5 s.
    Leaving(Vec<Receipt>),
    /// These are gone: cancel their handlers, settle nothing.
    Lost(Vec<Receipt>),
}

/// The settling half of a subscription, so that settling goes on while a fetch waits.
pub trait Settle: Send + Sync {
    /// Settles a batch. A receipt that is lost is passed over: its message comes again.
    ///
    /// # Errors
    /// When the engine cannot be reached; what is not settled comes again.
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Keeps leases alive for another [`Settle::lease`]; answers those that are lost.
    ///
    /// # Errors
    /// When the engine cannot be reached.
    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>>;

    /// How long a delivery stays ours without [`Settle::extend`]; `None`: for as long as the connection or process lives.
    fn lease(&self) -> Option<Duration>;
}

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Handled.
    Ack,
    /// Not handled: to come again.
    Retry {
        /// Not earlier than this.
        after: Duration,
        /// Attempts that ended in failure so far, for the header `tidings-attempts` where the engine moves the message.
        attempts: u32,
    },
    /// Not handled by this instance, and no attempt: to come again at once, to whoever is there.
    HandBack,
    /// The framework has stored the dead letter: forget the message.
    Reject,
}

/// What names a delivery to the broker it came from. Its numbers mean something to that broker alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Receipt(pub [u64; 3]);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "Receipt({a}/{b}/{c})")
    }
}

/// A message in hand.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The message.
    pub message: Message,
    /// What to settle it with.
    pub receipt: Receipt,
    /// Attempts that ended in failure, as far as the broker knows.
    pub attempts: u32,
    /// How often the engine has delivered it, this time included, where it counts.
    pub deliveries: Option<u32>,
}
