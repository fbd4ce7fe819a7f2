//! Messages as NATS headers and a body, and back: the CloudEvents NATS binding in binary mode.
//!
//! An attribute is the header `ce-` + its name, its value percent-encoded; the content type is one of them
//! (`ce-datacontenttype`). Other headers go as they are; the client keeps names apart but not their order, and trims blanks
//! at the ends of a value. What begins with `Nats-` steers the server and is neither sent nor passed on.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use tidings_core::{
    Message,
    wire::{Incoming, attributes, decode_value, encode_value},
};

/// `NATS/1.0` and the empty line at the end.
const FRAME: usize = "NATS/1.0\r\n\r\n".len();
/// The blank after the colon, and the end of a line.
const LINE: usize = ": \r\n".len();

/// Headers in the making, with their size on the wire.
#[derive(Default)]
pub(crate) struct Outgoing {
    map: HeaderMap,
    size: usize,
}

impl Outgoing {
    /// The attributes and headers of a message.
    pub(crate) fn of(message: &Message) -> Self {
        let mut headers = Self::default();
        attributes(message, |name, value| headers.attribute(name, value));
        if let Some(content_type) = message.content_type() {
            headers.attribute(DATACONTENTTYPE, content_type);
        }
        for (name, value) in message.headers().iter() {
            if let Some(extension) = strip_prefix(name, "ce-") {
                if ATTRIBUTES.iter().all(|(known, _)| !known.eq_ignore_ascii_case(extension)) {
                    headers.append(name, &encode_value(value));
                }
            } else if strip_prefix(name, "nats-").is_none() {
                headers.append(name, value);
            }
        }
        headers
    }

    fn attribute(&mut self, name: &str, value: &str) {
        if let Some((_, header)) = ATTRIBUTES.iter().find(|(known, _)| *known == name) {
            self.insert(header.clone(), encode_value(value).into_owned());
        }
    }

    /// Adds a header that is not there yet; the value has no line breaks.
    pub(crate) fn insert(&mut self, name: HeaderName, value: String) {
        self.size += AsRef::<str>::as_ref(&name).len() + value.len() + LINE;
        self.map.insert(name, value);
    }

    /// Names and values were checked when the message was made; what the client refuses all the same is left out.
    fn append(&mut self, name: &str, value: &str) {
        let (Ok(known), Ok(checked)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else { return };
        self.size += name.len() + value.len() + LINE;
        self.map.append(known, checked);
    }

    /// The bytes that they take on the wire.
    pub(crate) fn size(&self) -> usize {
        if self.size == 0 { 0 } else { FRAME + self.size }
    }

    pub(crate) fn into_map(self) -> Option<HeaderMap> {
        (self.size > 0).then_some(self.map)
    }
}

/// Moves what the headers say into a message being read.
pub(crate) fn read(headers: &HeaderMap, to: &mut Incoming) {
    let mut others = Vec::new();
    for (name, values) in headers.iter() {
        let name: &str = name.as_ref();
        if let Some(attribute) = strip_prefix(name, "ce-") {
            let attribute = lower(attribute);
            for value in values {
                to.attribute(&attribute, &decode_value(value.as_str()));
            }
        } else if strip_prefix(name, "nats-").is_none() {
            others.push((name, values));
        }
    }
    // The map has an order of its own, another one each time.
    others.sort_unstable_by_key(|(name, _)| *name);
    for (name, values) in others {
        for value in values {
            to.header(name, value.as_str());
        }
    }
}

/// Whether the headers are those of a CloudEvent in binary mode.
pub(crate) fn are_attributes(headers: &HeaderMap) -> bool {
    headers.get(SPECVERSION.clone()).is_some()
}

/// Attributes are lower-case; senders may write a header's name as they like.
fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}

fn strip_prefix<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

static SPECVERSION: HeaderName = HeaderName::from_static("ce-specversion");

static ATTRIBUTES: [(&str, HeaderName); 9] = [
    ("specversion", HeaderName::from_static("ce-specversion")),
    ("id", HeaderName::from_static("ce-id")),
    ("source", HeaderName::from_static("ce-source")),
    ("type", HeaderName::from_static("ce-type")),
    ("time", HeaderName::from_static("ce-time")),
    (DATACONTENTTYPE, HeaderName::from_static("ce-datacontenttype")),
    ("partitionkey", HeaderName::from_static("ce-partitionkey")),
    ("traceparent", HeaderName::from_static("ce-traceparent")),
    ("tracestate", HeaderName::from_static("ce-tracestate")),
];

const DATACONTENTTYPE: &str = "datacontenttype";

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use bytes::Bytes;
    use tidings_core::{Headers, Key, MessageId, Source, Topic, TraceContext, wire::Origin};

    use super::*;

    fn topic() -> Topic {
        Topic::new("user.created").unwrap()
    }

    fn back(headers: &HeaderMap, body: &Bytes) -> Message {
        let mut incoming = Incoming::new(topic(), body.clone());
        read(headers, &mut incoming);
        incoming.finish(Origin { source: Source::new("/nats").unwrap(), id: MessageId::generate })
    }

    #[test]
    fn a_message_comes_back_as_it_went() {
        let mut own = Headers::new();
        for (name, value) in [("a", "2"), ("a", "1"), ("b", "100% ünicode: yes"), ("ce-comexample", "x y"), ("id", "7")] {
            own.append(name, value).unwrap();
        }
        let sent = Message::builder(topic(), Source::new("/users ü").unwrap(), Bytes::from_static(b"\xff\0"))
            .time(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_800_000_000_123_456_789))
            .key(Key::new("a \"key\" 100%").unwrap())
            .trace(TraceContext::start().with_state("v=1"))
            .content_type("text/plain; charset=\"ü\"")
            .headers(own)
            .build();
        let outgoing = Outgoing::of(&sent);
        let size = outgoing.size();
        let headers = outgoing.into_map().unwrap();
        let written: usize = headers
            .iter()
            .flat_map(|(name, all)| all.iter().map(move |one| name.to_string().len() + one.as_str().len() + 4))
            .sum();
        assert_eq!(size, written + 12);
        let received = back(&headers, sent.body());
        for name in ["a", "b", "ce-comexample", "id"] {
            let all = |message: &Message| message.headers().get_all(name).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(all(&received), all(&sent), "{name}");
        }
        assert_eq!(received.headers().len(), 5);
        let without = |message: Message| message.into_builder().headers(Headers::new()).build();
        assert_eq!(without(received), without(sent));
    }

    #[test]
    fn a_header_can_neither_steer_the_server_nor_forge_an_attribute() {
        let mut own = Headers::new();
        for name in ["Nats-Rollup", "nats-expected-stream", "ce-id", "CE-Source"] {
            own.append(name, "all").unwrap();
        }
        let sent = Message::builder(topic(), Source::new("/users").unwrap(), Bytes::new()).headers(own).build();
        let headers = Outgoing::of(&sent).into_map().unwrap();
        assert_eq!(headers.iter().count(), 4, "{headers:?}");
        assert_eq!(headers.get("ce-source").unwrap().as_str(), "/users");

        let mut received = HeaderMap::new();
        received.insert("Nats-Msg-Id", "1");
        assert!(back(&received, &Bytes::new()).headers().is_empty());
    }

    #[test]
    fn without_attributes_there_are_no_headers() {
        assert_eq!(Outgoing::default().size(), 0);
        assert!(Outgoing::default().into_map().is_none());
    }
}
