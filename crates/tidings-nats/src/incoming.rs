//! What a subscription reads: which subjects are its own, and a message from whatever form it came in.

use std::collections::HashMap;

use bytes::Bytes;
use tidings_core::{
    Message, MessageId, Source, Topic, TopicPattern,
    wire::{Incoming, Origin},
};

use crate::{envelope, headers, settings::Wire};

/// Topics that share their text with all their messages.
const KNOWN_TOPICS: usize = 1024;

/// Reads the messages of one subscription.
pub(crate) struct Reader {
    wire: Wire,
    pattern: TopicPattern,
    /// What a message that does not say it comes from.
    source: Source,
    known: HashMap<Box<str>, Topic>,
    last: Option<Topic>,
}

impl Reader {
    pub(crate) fn new(pattern: TopicPattern, wire: Wire, source: Source) -> Self {
        let last = pattern.as_topic();
        Self { wire, pattern, source, known: HashMap::new(), last }
    }

    /// The topic of a subject; `None` when the subscription has nothing to do with it.
    pub(crate) fn topic(&mut self, subject: &str) -> Option<Topic> {
        if self.last.as_ref().is_none_or(|last| last.as_str() != subject) {
            self.last = Some(self.look_up(subject)?);
        }
        self.last.clone()
    }

    fn look_up(&mut self, subject: &str) -> Option<Topic> {
        if let Some(topic) = self.known.get(subject) {
            return Some(topic.clone());
        }
        // A wildcard in first place sees what belongs to the server and to its clients, too.
        if subject.starts_with('$') || subject.starts_with("_INBOX.") {
            return None;
        }
        let topic = Topic::from_wire(subject).ok().filter(|topic| self.pattern.matches(topic))?;
        if self.known.len() >= KNOWN_TOPICS {
            self.known.clear();
        }
        self.known.insert(subject.into(), topic.clone());
        Some(topic)
    }

    /// The message; `id` makes the id of one that has none.
    pub(crate) fn message(
        &self,
        topic: Topic,
        headers: Option<&async_nats::HeaderMap>,
        payload: Bytes,
        id: impl FnOnce() -> MessageId,
    ) -> Message {
        let binary = headers.is_some_and(headers::are_attributes);
        let enveloped = (self.wire == Wire::GoMicro && !binary).then(|| envelope::read(&topic, &payload)).flatten();
        let incoming = enveloped.unwrap_or_else(|| {
            let mut incoming = Incoming::new(topic, payload);
            if let Some(headers) = headers {
                headers::read(headers, &mut incoming);
            }
            incoming
        });
        incoming.finish(Origin { source: self.source.clone(), id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(pattern: &str) -> Reader {
        Reader::new(TopicPattern::new(pattern).unwrap(), Wire::GoMicro, Source::new("/nats").unwrap())
    }

    #[test]
    fn a_wildcard_takes_topics_alone() {
        let mut all = reader(">");
        assert_eq!(all.topic("user.created").unwrap().as_str(), "user.created");
        for other in ["_INBOX.x.1", "$JS.API.INFO", "dead.mail.user.created", "again.mail.x"] {
            assert_eq!(all.topic(other), None, "{other}");
        }
        assert!(reader("dead.>").topic("dead.mail.user.created").is_some());
        for many in 0..3 * KNOWN_TOPICS {
            assert!(all.topic(&format!("a.{many}")).is_some());
        }
        assert!(all.known.len() <= KNOWN_TOPICS);
    }

    #[test]
    fn a_go_micro_subscriber_reads_every_form() {
        let mut reader = reader("user.created");
        let topic = reader.topic("user.created").unwrap();
        let read = |headers: Option<&async_nats::HeaderMap>, payload: &'static str| {
            reader.message(topic.clone(), headers, Bytes::from_static(payload.as_bytes()), || MessageId::new("made").unwrap())
        };
        assert_eq!(&read(None, r#"{"Body":"e30="}"#).body()[..], b"{}");
        assert_eq!(&read(None, r#"{"id":"42"}"#).body()[..], br#"{"id":"42"}"#);
        let mut headers = async_nats::HeaderMap::new();
        for (name, value) in [("CE-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s")] {
            headers.insert(name.to_ascii_lowercase(), value);
        }
        let binary = read(Some(&headers), r#"{"Body":"e30="}"#);
        assert_eq!((binary.id().to_string().as_str(), &binary.body()[..]), ("1", &br#"{"Body":"e30="}"#[..]));
    }
}
