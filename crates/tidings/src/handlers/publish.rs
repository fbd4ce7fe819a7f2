//! Events to publish, with what differs from their own key and headers, and when.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use tidings_core::{Event, Headers, Key, Message, PublishError};

/// Events to publish: a handler returns them, and they go out with its success.
///
/// Where the handler takes `Tx` they are part of its transaction; elsewhere they are published before the message is
/// acknowledged, so that a crash in between publishes them again.
///
/// ```
/// use tidings::{Failure, Handlers, Publish};
///
/// #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// #[event(topic = "order.placed", key = "id")]
/// struct Placed { id: String }
///
/// #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// #[event(topic = "order.booked", key = "id")]
/// struct Booked { id: String }
///
/// async fn book(order: Placed) -> Result<Publish<Booked>, Failure> {
///     Ok(Publish::one(Booked { id: order.id }).header("priority", "high"))
/// }
///
/// let handlers: Handlers = Handlers::new().on(book);
/// ```
#[must_use = "returned from a handler, or given to `Publisher::send` or `Outbox::send`"]
pub struct Publish<E> {
    events: Vec<E>,
    key: Option<String>,
    headers: Vec<(String, String)>,
    delay: Duration,
}

impl<E: Event> Publish<E> {
    /// One event.
    pub fn one(event: E) -> Self {
        Self::many([event])
    }

    /// Many events, in this order.
    pub fn many(events: impl IntoIterator<Item = E>) -> Self {
        Self { events: events.into_iter().collect(), key: None, headers: Vec::new(), delay: Duration::ZERO }
    }

    /// None.
    pub fn nothing() -> Self {
        Self::many([])
    }

    /// Orders them by this key, instead of their own.
    pub fn key(self, key: impl Into<String>) -> Self {
        Self { key: Some(key.into()), ..self }
    }

    /// Sends a header besides their own; one of that name replaces it.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Delivers them not earlier than this long from when they are published, answered by the handler or written into the
    /// outbox, and soon after. A zero delay is none.
    ///
    /// The broker holds them back and publishes them when they are due: every group gets them that is there then, whenever it came, and
    /// of their key they are the latest. What is published of that key meanwhile does not wait for them.
    ///
    /// `memory:` (for as long as its process lives) and `sqlite:` can do that, for up to 7 days. On other brokers publishing is an
    /// error ([`PublishError::Unsupported`]), and so is a longer delay ([`PublishError::DelayTooLong`]): nothing was sent or stored
    /// then. The time is the machine's: where another one holds the messages back, the difference of their clocks counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings::{Handlers, Publish};
    ///
    /// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
    /// # #[event(topic = "order.placed", key = "id")]
    /// # struct Placed { id: String }
    /// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
    /// # #[event(topic = "order.reminded", key = "id")]
    /// # struct Remind { id: String }
    /// async fn remind(order: Placed) -> Publish<Remind> {
    ///     Publish::one(Remind { id: order.id }).delay(Duration::from_secs(3_600))
    /// }
    ///
    /// let handlers: Handlers = Handlers::new().on(remind);
    /// ```
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Their messages, each made by `make` of the event alone.
    pub(crate) fn messages(&self, make: impl Fn(&E) -> Result<Message, PublishError>) -> Result<Vec<Message>, PublishError> {
        let key = self.key.as_deref().map(Key::new).transpose()?;
        let due = self.due();
        let own = |event| {
            let mut message = make(event)?;
            if key.is_some() {
                message = message.into_builder().key(key.clone()).build();
            }
            if due.is_some() {
                message = message.into_builder().due(due).build();
            }
            if self.headers.is_empty() {
                return Ok(message);
            }
            let mut headers: Headers = message.headers().clone();
            for (name, value) in &self.headers {
                headers.set(name.as_str(), value.as_str())?;
            }
            Ok(message.into_builder().headers(headers).build())
        };
        self.events.iter().map(own).collect()
    }

    /// What no clock can tell is later than any broker takes, and refused as that.
    fn due(&self) -> Option<SystemTime> {
        const LATE: Duration = Duration::from_secs(1 << 32);
        if self.delay.is_zero() {
            return None;
        }
        SystemTime::now().checked_add(self.delay.min(LATE))
    }
}

impl<E> fmt::Debug for Publish<E> {
    /// Without the events: they may hold what belongs into no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").field("events", &self.events.len()).finish_non_exhaustive()
    }
}
