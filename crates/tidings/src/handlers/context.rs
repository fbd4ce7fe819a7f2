//! What a handler's arguments are made from.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tidings_core::{GroupName, Headers, Key, Message, MessageId, Source, Topic, TopicPattern, TraceContext};

use super::Ending;
use crate::Publisher;

/// One attempt at one message: what extractors read. A clone is cheap.
#[derive(Debug)]
pub struct Context {
    delivered: Arc<Delivered>,
    attempt: u32,
    /// What an extractor began. Not a clone's: it ends once.
    ending: Option<Box<dyn Ending>>,
}

impl Clone for Context {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.delivered), self.attempt)
    }
}

/// A message in hand, shared by the delivery loop and its attempts, so that an attempt costs no clone of the message.
///
/// Its allocation serves the next message once no attempt holds it any more.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) message: Message,
    pub(crate) place: Arc<Place>,
}

/// Where messages come in: the same for all of a subscription.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) subscription: SubscriptionName,
    pub(crate) publisher: Publisher,
    /// How long an attempt may take.
    pub(crate) timeout: Duration,
    /// For handlers that take one.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) transactions: Option<crate::inbox::Transactions>,
}

#[cfg(test)]
impl Place {
    pub(crate) fn new(subscription: SubscriptionName, publisher: Publisher) -> Self {
        Self {
            subscription,
            publisher,
            timeout: Duration::from_secs(30),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            transactions: None,
        }
    }
}

/// What a subscription is: a group and a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionName {
    pub(crate) group: GroupName,
    pub(crate) pattern: TopicPattern,
}

impl Context {
    pub(crate) fn new(delivered: Arc<Delivered>, attempt: u32) -> Self {
        Self { delivered, attempt, ending: None }
    }

    /// How long an attempt may take.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn timeout(&self) -> Duration {
        self.delivered.place.timeout
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn transactions(&self) -> Option<&crate::inbox::Transactions> {
        self.delivered.place.transactions.as_ref()
    }

    /// Has the attempt end with this.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn end_with(&mut self, ending: Box<dyn Ending>) {
        self.ending = Some(ending);
    }

    pub(super) fn take_ending(&mut self) -> Option<Box<dyn Ending>> {
        self.ending.take()
    }

    /// How long the handler may run, where that is less than the attempt.
    pub(super) fn hold(&self) -> Option<Duration> {
        self.ending.as_ref()?.hold()
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.delivered.message
    }

    /// Which attempt this is, as far as is known; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Who handles it.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        &self.delivered.place.subscription.group
    }

    /// What the subscription asked for.
    #[must_use]
    pub fn pattern(&self) -> &TopicPattern {
        &self.delivered.place.subscription.pattern
    }

    /// Publishes within the message's trace.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.delivered.place.publisher.in_trace(self.message().trace().cloned())
    }
}

/// What came with an event: an argument of a handler.
#[derive(Debug, Clone)]
pub struct Meta(Context);

impl Meta {
    pub(crate) fn of(context: &Context) -> Self {
        Self(context.clone())
    }

    /// The message's id, unlike that of every other of its source.
    #[must_use]
    pub fn id(&self) -> &MessageId {
        self.0.message().id()
    }

    /// Who said it.
    #[must_use]
    pub fn source(&self) -> &Source {
        self.0.message().source()
    }

    /// Where it was published.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        self.0.message().topic()
    }

    /// Its ordering key.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.0.message().key()
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        self.0.message().time()
    }

    /// Which attempt this is, as far as is known; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.0.attempt
    }

    /// Its headers besides the attributes.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        self.0.message().headers()
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.0.message().trace()
    }

    /// The same for every delivery of this message, and for no other message: pass it on where effects leave the database.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.0.message().dedup_id().to_string()
    }
}
