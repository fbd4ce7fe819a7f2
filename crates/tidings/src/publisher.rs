//! Publishing straight to the broker, without an outbox.

use std::{sync::Arc, time::SystemTime};

use prometheus_client::metrics::counter::Counter;
use tidings_core::{Broker, Capabilities, Event, Headers, Key, Message, PublishError, Source, Text, Topic, TraceContext};

use crate::Publish;

/// Publishes events straight to the broker; clones are cheap.
///
/// What is published here is not part of any transaction: an event that tells of a row belongs into the outbox.
#[derive(Clone)]
pub struct Publisher {
    broker: Arc<dyn Broker>,
    source: Source,
    trace: Option<TraceContext>,
    published: Counter,
}

impl Publisher {
    /// Publishes to `broker` in the name of `source`.
    #[must_use]
    pub fn new(broker: Arc<dyn Broker>, source: Source) -> Self {
        Self { broker, source, trace: None, published: Counter::default() }
    }

    /// The same, counting there what it publishes.
    pub(crate) fn counted(self, published: Counter) -> Self {
        Self { published, ..self }
    }

    /// The same, within a trace.
    #[must_use]
    pub fn in_trace(&self, trace: Option<TraceContext>) -> Self {
        Self { trace, ..self.clone() }
    }

    /// Publishes one event; returns when the broker has taken responsibility for it.
    ///
    /// # Errors
    /// When the event cannot be encoded or the broker does not take it; it says whether trying again may help.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have published.
    pub fn publish<E: Event>(&self, event: &E) -> impl Future<Output = Result<(), PublishError>> + Send + use<E> {
        // Made before the first await, or every event would have to be `Sync`.
        let message = message_of(event, &self.source, self.trace.as_ref());
        let (broker, published) = (Arc::clone(&self.broker), self.published.clone());
        async move { send(&*broker, &message?, &published).await }
    }

    /// Publishes events with a key or headers that differ from their own, or later, all in one batch.
    ///
    /// # Errors
    /// As [`Publisher::publish`]; where several were not taken, the first one's. Others may have been published, but for a delay
    /// that the broker cannot keep: then none was.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have published.
    pub fn send<E: Event>(&self, events: &Publish<E>) -> impl Future<Output = Result<(), PublishError>> + Send + use<E> {
        let messages = self.messages(events);
        let publisher = self.clone();
        async move { publisher.publish_messages(&messages?).await }
    }

    /// The messages that [`Publisher::send`] publishes.
    pub(crate) fn messages<E: Event>(&self, events: &Publish<E>) -> Result<Vec<Message>, PublishError> {
        events.messages(|event| message_of(event, &self.source, self.trace.as_ref()))
    }

    pub(crate) async fn publish_messages(&self, messages: &[Message]) -> Result<(), PublishError> {
        self.check_due(messages)?;
        let published = self.broker.publish(messages).await;
        let failed = published.as_ref().err().map_or(0, |failures| failures.failed().len());
        self.published.inc_by((messages.len() - failed.min(messages.len())) as u64);
        Ok(published?)
    }

    /// Publishes a message as it is.
    ///
    /// # Errors
    /// When the broker does not take it.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have published.
    pub async fn publish_message(&self, message: &Message) -> Result<(), PublishError> {
        self.check_due(std::slice::from_ref(message))?;
        send(&*self.broker, message, &self.published).await
    }

    /// Before anything is sent: a broker that cannot hold back what is due later may not know of that, and send it at once.
    fn check_due(&self, messages: &[Message]) -> Result<(), PublishError> {
        match messages.iter().any(|message| message.due().is_some()) {
            true => check_due(messages, self.broker.name(), &self.broker.capabilities()),
            false => Ok(()),
        }
    }
}

/// Whether that broker can publish all of these as late as they are due.
pub(crate) fn check_due(messages: &[Message], broker: &'static str, able: &Capabilities) -> Result<(), PublishError> {
    messages.iter().try_for_each(|message| able.check_due(broker, message))
}

async fn send(broker: &dyn Broker, message: &Message, published: &Counter) -> Result<(), PublishError> {
    broker.publish(std::slice::from_ref(message)).await?;
    published.inc();
    Ok(())
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher").field("broker", &self.broker.name()).field("source", &self.source).finish()
    }
}

/// The message of an event that happens now. Outside of every trace it begins one.
pub(crate) fn message_of<E: Event>(event: &E, source: &Source, trace: Option<&TraceContext>) -> Result<Message, PublishError> {
    let encode = |source| PublishError::Encode { topic: E::TOPIC, source };
    let current = trace.is_none().then(crate::trace::current).flatten();
    let trace = trace.or(current.as_ref());
    let mut headers = Headers::new();
    event.headers(&mut headers).map_err(encode)?;
    let body = event.encode().map_err(encode)?;
    let key = event.key().map(|key| Key::new(&key)).transpose()?;
    let message = Message::builder(Topic::from_static(E::TOPIC)?, source.clone(), body)
        .event_type(Text::from_static(event.event_type()))
        .content_type(Text::from_static(E::CONTENT_TYPE))
        .time(SystemTime::now())
        .key(key)
        .trace(trace.map_or_else(TraceContext::start, TraceContext::child))
        .headers(headers);
    Ok(message.build())
}
