//! An event on the wire: CloudEvents attributes, headers, body.

use std::{fmt, sync::OnceLock, time::SystemTime};

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::{Headers, Key, MessageId, Source, Text, Topic, TraceContext};

/// An event on the wire, with the attributes of CloudEvents 1.0.
///
/// A clone copies no body. What identifies a message is its source and id together.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub(crate) topic: Topic,
    pub(crate) id: LateId,
    pub(crate) source: Source,
    pub(crate) event_type: Option<Text>,
    pub(crate) time: Option<SystemTime>,
    pub(crate) content_type: Option<Text>,
    pub(crate) key: Option<Key>,
    // What many messages do without is apart: a message is moved often on its way.
    pub(crate) trace: Option<Box<TraceContext>>,
    pub(crate) rare: Option<Box<Rare>>,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
}

/// What hardly any message has; absent, not empty, when there is nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Rare {
    dedup: Option<Text>,
    due: Option<SystemTime>,
}

impl Message {
    /// Begins a message; what is not set is absent, but for the id (a new UUIDv7, made when it is first asked for).
    #[inline]
    pub fn builder(topic: Topic, source: Source, body: Bytes) -> MessageBuilder {
        MessageBuilder(Self {
            topic,
            id: LateId::default(),
            source,
            event_type: None,
            time: None,
            content_type: None,
            key: None,
            trace: None,
            rare: None,
            headers: Headers::new(),
            body,
        })
    }

    /// Begins a message that is this one but for what is set.
    #[inline]
    pub fn into_builder(self) -> MessageBuilder {
        MessageBuilder(self)
    }

    /// What arrives of it where the body alone is sent (`?wire=bare`): a new message from `source`. The framework's own, such as
    /// dead letters, are sent whole on every wire. When it is [due](Message::due) stays: that is for the broker, and on no wire.
    #[must_use]
    pub fn bare(&self, source: &Source) -> Self {
        if self.topic().is_reserved() {
            return self.clone();
        }
        Self::builder(self.topic().clone(), source.clone(), self.body().clone()).due(self.due()).build()
    }

    /// Where it is published.
    #[inline]
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// Its id, unlike that of every other of its source.
    #[inline]
    #[must_use]
    pub fn id(&self) -> &MessageId {
        self.id.get()
    }

    /// Who says it.
    #[inline]
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What kind of event it is: the topic, unless the event says otherwise.
    #[inline]
    #[must_use]
    pub fn event_type(&self) -> &Text {
        self.event_type.as_ref().unwrap_or(self.topic.text())
    }

    /// When it happened; absent on a message that came without the attribute.
    #[inline]
    #[must_use]
    pub fn time(&self) -> Option<SystemTime> {
        self.time
    }

    /// What the body is, a media type.
    #[inline]
    #[must_use]
    pub fn content_type(&self) -> Option<&Text> {
        self.content_type.as_ref()
    }

    /// The ordering key.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// The trace it belongs to.
    #[inline]
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.trace.as_deref()
    }

    /// Headers besides the attributes.
    #[inline]
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body; a clone of it shares the bytes.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What an engine compares to recognise a second publish: `<source> <id>`, each percent-encoded, unless another was set.
    ///
    /// Never the bare id: an engine may compare across topics, and an event and its dead letter share the id.
    #[must_use]
    pub fn dedup_id(&self) -> Text {
        self.own_dedup_id().cloned().unwrap_or_else(|| self.id().with_str(|id| dedup_of(&[&self.source.as_str(), &id]).into()))
    }

    /// What was set to be compared instead of source and id; [`Message::dedup_id`] answers whichever counts.
    #[inline]
    #[must_use]
    pub fn own_dedup_id(&self) -> Option<&Text> {
        self.rare.as_ref()?.dedup.as_ref()
    }

    /// Before when nobody is to get it: what `Publish::delay` asked for. Absent when it is to be delivered at once, and on all
    /// that is delivered.
    ///
    /// An attribute for the broker that it is published to, which holds the message back until then, or refuses it
    /// ([`Capabilities::longest_delay`](crate::Capabilities::longest_delay)). It is no header and on no wire: whoever sends a message cannot make it up,
    /// nor can a header that somebody names so.
    #[inline]
    #[must_use]
    pub fn due(&self) -> Option<SystemTime> {
        self.rare.as_ref()?.due
    }

    /// The bytes it takes on a wire, about: body, headers and attributes.
    #[must_use]
    pub fn size(&self) -> usize {
        const ATTRIBUTE_NAMES_AND_TIME: usize = 256;
        ATTRIBUTE_NAMES_AND_TIME
            + self.body.len()
            + self.headers.size()
            + self.topic.as_str().len()
            + self.source.as_str().len()
            + self.key.as_ref().map_or(0, |key| key.as_str().len())
    }
}

/// Joins the parts of a de-duplication id by blanks; each part is percent-encoded, since it may hold blanks itself.
#[must_use]
pub fn dedup_of(parts: &[&dyn AsRef<str>]) -> String {
    const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'%');
    let mut id = String::new();
    for part in parts {
        if !id.is_empty() {
            id.push(' ');
        }
        id.extend(utf8_percent_encode(part.as_ref(), UNSAFE));
    }
    id
}

/// An id that is made when somebody asks for it: on some wires nobody does, and it is a good part of what a message costs. A copy
/// has the same one.
pub(crate) enum LateId {
    Given(MessageId),
    Late(OnceLock<MessageId>),
}

impl LateId {
    #[inline]
    fn get(&self) -> &MessageId {
        match self {
            Self::Given(id) => id,
            Self::Late(id) => id.get_or_init(MessageId::generate),
        }
    }
}

impl Default for LateId {
    #[inline]
    fn default() -> Self {
        Self::Late(OnceLock::new())
    }
}

impl Clone for LateId {
    #[inline]
    fn clone(&self) -> Self {
        Self::Given(self.get().clone())
    }
}

impl PartialEq for LateId {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl fmt::Debug for LateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// A [`Message`] in the making.
#[derive(Debug, Clone)]
#[must_use]
pub struct MessageBuilder(Message);

impl MessageBuilder {
    /// Another topic.
    #[inline]
    pub fn topic(mut self, topic: Topic) -> Self {
        self.0.topic = topic;
        self
    }

    /// The id that somebody else gave.
    #[inline]
    pub fn id(mut self, id: MessageId) -> Self {
        self.0.id = LateId::Given(id);
        self
    }

    /// The type of the event, where it is not the topic.
    #[inline]
    pub fn event_type(mut self, event_type: impl Into<Text>) -> Self {
        let event_type = event_type.into();
        self.0.event_type = (event_type != self.0.topic.as_str()).then_some(event_type);
        self
    }

    /// When it happened.
    #[inline]
    pub fn time(mut self, time: impl Into<Option<SystemTime>>) -> Self {
        self.0.time = time.into();
        self
    }

    /// What the body is, a media type.
    #[inline]
    pub fn content_type(mut self, content_type: impl Into<Text>) -> Self {
        self.0.content_type = Some(content_type.into());
        self
    }

    /// The ordering key.
    #[inline]
    pub fn key(mut self, key: impl Into<Option<Key>>) -> Self {
        self.0.key = key.into();
        self
    }

    /// The trace it belongs to.
    #[inline]
    pub fn trace(mut self, trace: impl Into<Option<TraceContext>>) -> Self {
        self.0.trace = trace.into().map(Box::new);
        self
    }

    /// What an engine compares instead of source and id (see [`Message::dedup_id`]).
    #[inline]
    pub fn dedup_id(mut self, dedup: impl Into<Text>) -> Self {
        self.0.rare.get_or_insert_default().dedup = Some(dedup.into());
        self
    }

    /// Before when nobody is to get it (see [`Message::due`]); `None` for at once.
    #[inline]
    pub fn due(mut self, due: impl Into<Option<SystemTime>>) -> Self {
        let due = due.into();
        // Most have none, and need no place for it.
        if due.is_some() || self.0.rare.is_some() {
            self.0.rare.get_or_insert_default().due = due;
            self.0.rare.take_if(|rare| **rare == Rare::default());
        }
        self
    }

    /// The headers, instead of those that are there.
    #[inline]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.0.headers = headers;
        self
    }

    /// The body, instead of the one that is there.
    #[inline]
    pub fn body(mut self, body: Bytes) -> Self {
        self.0.body = body;
        self
    }

    /// The message.
    #[inline]
    #[must_use]
    pub fn build(self) -> Message {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> MessageBuilder {
        Message::builder(Topic::new("user.created").unwrap(), Source::new("/users").unwrap(), Bytes::from_static(b"{}"))
    }

    #[test]
    fn the_type_is_the_topic_unless_it_was_said() {
        assert_eq!(*message().build().event_type(), "user.created");
        assert_eq!(*message().event_type("com.example.user").build().event_type(), "com.example.user");
    }

    #[test]
    fn no_two_messages_share_a_deduplication_id() {
        let of = |source: &str, id: &str| {
            Message::builder(Topic::new("t").unwrap(), Source::new(source).unwrap(), Bytes::new())
                .id(MessageId::new(id).unwrap())
                .build()
                .dedup_id()
        };
        assert_eq!(of("/users", "1"), "/users 1");
        assert_ne!(of("a b", "c"), of("a", "b c"));
        assert_ne!(of("a%20b", "c"), of("a b", "c"));
    }

    #[test]
    fn an_id_that_nobody_gave_is_the_same_in_every_copy() {
        let (message, other) = (message().build(), message().build());
        let copy = message.clone();
        assert_eq!(copy.id(), message.id());
        assert_eq!(copy, message);
        assert_ne!(message, other);
    }

    #[test]
    fn what_hardly_any_message_has_costs_the_others_no_bytes() {
        let due = SystemTime::UNIX_EPOCH;
        let late = message().due(due).build();
        assert_eq!(late.due(), Some(due));
        assert_eq!(late.bare(&Source::new("/bare").unwrap()).due(), Some(due));
        assert!(late.into_builder().due(None).build().rare.is_none());
        let own = message().dedup_id("own").due(due).due(None).build();
        assert_eq!((own.due(), own.own_dedup_id().map(Text::as_str)), (None, Some("own")));
        assert!(size_of::<Message>() <= 232);
    }

    #[test]
    fn a_clone_shares_the_body() {
        let message = message().body(Bytes::from(vec![1; 1000])).build();
        assert_eq!(message.clone().body().as_ptr(), message.body().as_ptr());
    }
}
