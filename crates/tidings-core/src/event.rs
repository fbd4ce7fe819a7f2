//! The typed fact that applications publish and handle.

use std::borrow::Cow;

use bytes::Bytes;

use crate::{Headers, Message, Text};

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A typed fact with a topic, usually made by `#[derive(Event)]`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an event",
    label = "not an event",
    note = "add `#[derive(Event, Serialize, Deserialize)]` and `#[event(topic = \"…\")]` to `{Self}`",
    note = "a handler of `Message`, whatever its type, is registered with `.on_topic(…)`, one of `Batch<…>` with `.on_batch(…)`"
)]
pub trait Event: Sized + Send + 'static {
    /// The topic it is published on.
    const TOPIC: &'static str;
    /// The CloudEvents type.
    const TYPE: &'static str = Self::TOPIC;
    /// The types that it is one of, where it may be one of several; empty where there is only [`Event::TYPE`].
    const TYPES: &'static [&'static str] = &[];
    /// The media type that [`Event::encode`] makes.
    const CONTENT_TYPE: &'static str;

    /// This one's type.
    fn event_type(&self) -> &'static str {
        Self::TYPE
    }

    /// The ordering key: events with one key are handled one at a time, in the order of their publishing.
    fn key(&self) -> Option<Cow<'_, str>>;

    /// Headers that go with it on every wire.
    ///
    /// # Errors
    /// When a value cannot be a header's.
    fn headers(&self, to: &mut Headers) -> Result<(), BoxError> {
        let _ = to;
        Ok(())
    }

    /// The body.
    ///
    /// # Errors
    /// When the event cannot be written in its own format.
    fn encode(&self) -> Result<Bytes, BoxError>;

    /// Reads a body.
    ///
    /// # Errors
    /// When the body is not such an event; the error says where, and quotes no value of the body.
    fn decode(content_type: Option<&str>, body: &Bytes) -> Result<Self, BoxError>;

    /// Reads a message, whose type tells which of several events it is.
    ///
    /// # Errors
    /// When it is none of them, or its body is not such an event.
    fn from_message(message: &Message) -> Result<Self, BoxError> {
        Self::decode(message.content_type().map(Text::as_str), message.body())
    }
}

/// No event has it: it lets the compiler say what is wrong where a handler takes its event by reference.
#[diagnostic::on_unimplemented(
    message = "take the event by value, not `&{Self}`",
    label = "takes a reference to an event",
    note = "an event is given away whole: `user: UserCreated`, not `user: &UserCreated`"
)]
pub trait ByReference {}

#[doc(hidden)]
impl<T: ByReference + Sync> Event for &'static T {
    const TOPIC: &'static str = "";
    const CONTENT_TYPE: &'static str = "";

    fn key(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn encode(&self) -> Result<Bytes, BoxError> {
        Err("a reference is no event".into())
    }

    fn decode(_: Option<&str>, _: &Bytes) -> Result<Self, BoxError> {
        Err("a reference is no event".into())
    }
}
