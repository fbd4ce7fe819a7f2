//! What a handler's arguments are made from.

use std::{sync::Arc, time::SystemTime};

use tidings_core::{GroupName, Headers, Key, Message, MessageId, Source, Topic, TopicPattern, TraceContext};

use crate::Publisher;

/// One attempt at one message: what extractors read.
#[derive(Debug, Clone)]
pub struct Context {
    pub(crate) message: Message,
    pub(crate) attempt: u32,
    pub(crate) subscription: Arc<SubscriptionName>,
    pub(crate) publisher: Publisher,
}

/// What a subscription is: a group and a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SubscriptionName {
    pub(crate) group: GroupName,
    pub(crate) pattern: TopicPattern,
}

impl Context {
    /// The message.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// Which attempt this is, as far as is known; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Who handles it.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        &self.subscription.group
    }

    /// What the subscription asked for.
    #[must_use]
    pub fn pattern(&self) -> &TopicPattern {
        &self.subscription.pattern
    }

    /// Publishes within the message's trace.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.in_trace(self.message.trace().cloned())
    }
}

/// What came with an event: an argument of a handler.
#[derive(Debug, Clone)]
pub struct Meta {
    message: Message,
    attempt: u32,
}

impl Meta {
    pub(crate) fn of(context: &Context) -> Self {
        Self { message: context.message.clone(), attempt: context.attempt }
    }

    /// The message's id, unlike that of every other of its source.
    #[must_use]
    pub fn id(&self) -> &MessageId {
        self.message.id()
    }

    /// Who said it.
    #[must_use]
    pub fn source(&self) -> &Source {
        self.message.source()
    }

    /// Where it was published.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        self.message.topic()
    }

    /// Its ordering key.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.message.key()
    }

    /// When it happened.
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        self.message.time()
    }

    /// Which attempt this is, as far as is known; the first is 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Its headers besides the attributes.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        self.message.headers()
    }

    /// The trace it belongs to.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.message.trace()
    }

    /// The same for every delivery of this message, and for no other message: pass it on where effects leave the database.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.message.dedup_id().to_string()
    }
}
