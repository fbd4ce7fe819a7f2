//! What a handler's arguments are made from.

use std::{sync::Arc, time::SystemTime};

use tidings_core::{GroupName, Headers, Key, Message, MessageId, Source, Topic, TopicPattern, TraceContext};

use crate::Publisher;

/// One attempt at one message: what extractors read. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Context {
    delivered: Arc<Delivered>,
    attempt: u32,
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
}

/// What a subscription is: a group and a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionName {
    pub(crate) group: GroupName,
    pub(crate) pattern: TopicPattern,
}

impl Context {
    pub(crate) fn new(delivered: Arc<Delivered>, attempt: u32) -> Self {
        Self { delivered, attempt }
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
