//! A message as it came: attributes where there are any, anything else taken as it is.

use std::time::SystemTime;

use bytes::Bytes;

use super::{STRUCTURED, parse_time, structured};
use crate::{Headers, Key, Message, MessageId, Source, Text, Topic, TraceContext, message::LateId};

const JSON: &str = "application/json";

/// What the engine knows of a message that says nothing about itself.
#[derive(Debug)]
pub struct Origin<F> {
    /// The source that it gets: the engine's place, such as `/jetstream/TIDINGS`.
    pub source: Source,
    /// Makes the id that it gets, from its place in the engine, so that a redelivery is recognised.
    pub id: F,
}

/// A message being read.
///
/// Nothing that comes in is an error: an attribute that breaks its rule is passed over, since a subscriber takes plain
/// bodies too.
#[derive(Debug)]
pub struct Incoming {
    topic: Topic,
    body: Bytes,
    pub(super) id: Option<MessageId>,
    pub(super) source: Option<Source>,
    pub(super) event_type: Option<Text>,
    pub(super) time: Option<SystemTime>,
    pub(super) content_type: Option<Text>,
    pub(super) key: Option<Key>,
    pub(super) trace: Option<TraceContext>,
    pub(super) state: Option<Text>,
    headers: Headers,
    binary: bool,
}

impl Incoming {
    /// Begins with what every message has.
    #[must_use]
    pub fn new(topic: Topic, body: Bytes) -> Self {
        Self {
            topic,
            body,
            id: None,
            source: None,
            event_type: None,
            time: None,
            content_type: None,
            key: None,
            trace: None,
            state: None,
            headers: Headers::new(),
            binary: false,
        }
    }

    /// Takes an attribute of the binary form: its bare name (`id`), its value decoded.
    pub fn attribute(&mut self, name: &str, value: &str) {
        match name {
            "specversion" => self.binary = true,
            "id" => self.id = MessageId::new(value).ok(),
            "source" => self.source = Source::new(value).ok(),
            // Mostly the two are the same, and nothing need be kept.
            "type" => self.event_type = (value != self.topic.as_str()).then(|| value.into()),
            "time" => self.time = parse_time(value),
            "datacontenttype" => self.content_type = Some(media_type(value)),
            "partitionkey" => self.key = Key::new(value).ok(),
            "traceparent" => self.trace = value.parse().ok(),
            "tracestate" => self.state = Some(value.into()),
            extension => {
                let _ = self.headers.append(format!("ce-{extension}"), value);
            }
        }
    }

    /// Takes a header that is no attribute.
    pub fn header(&mut self, name: &str, value: &str) {
        if name.eq_ignore_ascii_case("content-type") {
            if self.content_type.is_none() {
                self.content_type = Some(media_type(value));
            }
        } else {
            // One that breaks our rules cannot be passed on by us either.
            let _ = self.headers.append(name, value);
        }
    }

    /// The message. What it does not say of itself comes from `origin`.
    pub fn finish<F: FnOnce() -> MessageId>(mut self, origin: Origin<F>) -> Message {
        if self.is_structured()
            && let Some(data) = structured::read(&self.body.clone(), &mut self)
        {
            self.body = data;
        }
        let trace = self.trace.map(|trace| match self.state {
            Some(state) => trace.with_state(state),
            None => trace,
        });
        Message {
            // An id alone says nothing: it is unlike the others of its source only.
            source: self.source.unwrap_or(origin.source),
            id: LateId::Given(self.id.unwrap_or_else(origin.id)),
            topic: self.topic,
            event_type: self.event_type,
            time: self.time,
            content_type: self.content_type,
            key: self.key,
            trace: trace.map(Box::new),
            rare: None,
            headers: self.headers,
            body: self.body,
        }
    }

    fn is_structured(&self) -> bool {
        let said = self
            .content_type
            .as_deref()
            .is_some_and(|said| said.get(..STRUCTURED.len()).is_some_and(|start| start.eq_ignore_ascii_case(STRUCTURED)));
        said || (!self.binary && structured::looks_so(&self.body))
    }
}

/// The commonest one is kept once for all.
fn media_type(text: &str) -> Text {
    if text == JSON { Text::from_static(JSON) } else { text.into() }
}
