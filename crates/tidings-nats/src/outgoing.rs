//! A message as what the client sends, in the form of the chosen wire.

use async_nats::{Subject, header::NATS_MESSAGE_ID, message::OutboundMessage};
use tidings_core::{BrokerError, Capabilities, Message, PublishError, PublishFailures, Text, Topic};

use crate::{envelope, headers::Outgoing, settings::Wire};

/// Room that a message leaves below the server's limit, so that its dead letter, with headers of its own, fits too.
const ROOM: usize = 8 * 1024;

/// The largest message of an event, headers included, where the server's limit is `max_payload` bytes.
pub(crate) fn limit(max_payload: usize) -> usize {
    max_payload.saturating_sub(ROOM)
}

/// What the server gets of a message, with `dedup` to recognise a second one by; refused before the network when it is too
/// large.
pub(crate) fn of(
    message: &Message,
    wire: Wire,
    dedup: Option<&Text>,
    max_payload: usize,
) -> Result<OutboundMessage, PublishError> {
    // A server cuts the connection of whoever sends it a subject that is none.
    message.topic().check_for_publish()?;
    if message.due().is_some() {
        // Neither can hold one back; the framework has asked before.
        Capabilities::default().check_due(if dedup.is_some() { "jetstream" } else { "nats" }, message)?;
    }
    // Why a message was given up stands in its attributes.
    let wire = if message.topic().is_reserved() { Wire::CloudEvents } else { wire };
    let mut headers = if wire == Wire::CloudEvents { Outgoing::of(message) } else { Outgoing::default() };
    if let Some(id) = dedup {
        // Whoever set an id of his own may have put a line break in.
        headers.insert(NATS_MESSAGE_ID, id.replace(['\r', '\n'], " "));
    }
    let payload = match wire {
        Wire::CloudEvents | Wire::Bare => message.body().clone(),
        Wire::GoMicro => envelope::write(message).map_err(|error| PublishError::Refused(error.to_string()))?,
    };
    let topic = message.topic();
    let limit = if topic.is_reserved() { max_payload } else { limit(max_payload) };
    let size = headers.size() + payload.len();
    if size > limit {
        return Err(PublishError::TooLarge { topic: topic.to_string(), size, limit });
    }
    Ok(OutboundMessage { subject: subject(topic), reply: None, payload, headers: headers.into_map() })
}

/// The topics of events are written in the program, and need no copy.
fn subject(topic: &Topic) -> Subject {
    topic.text().as_static().map_or_else(|| Subject::from(topic.as_str()), Subject::from_static)
}

/// None is taken while the client is not connected: what waits in it would go out whenever it is back.
pub(crate) fn refuse_all(batch: &[Message], error: &BrokerError) -> PublishFailures {
    PublishFailures::all(batch.len(), || match error {
        BrokerError::Closed { .. } => PublishError::Closed,
        error => PublishError::Unavailable(error.to_string().into()),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_core::{GroupName, Source};

    use super::*;

    fn message(body: usize) -> Message {
        let topic = Topic::new("user.created").unwrap();
        Message::builder(topic, Source::new("/users").unwrap(), Bytes::from(vec![0; body])).build()
    }

    #[test]
    fn every_byte_on_the_wire_counts_against_the_limit() {
        let limit = limit(100_000);
        assert!(of(&message(limit), Wire::Bare, None, 100_000).is_ok());
        assert!(of(&message(limit + 1), Wire::Bare, None, 100_000).is_err());
        assert!(of(&message(limit), Wire::CloudEvents, None, 100_000).is_err());
        assert!(of(&message(limit * 3 / 4), Wire::GoMicro, None, 100_000).is_err());
    }

    #[test]
    fn what_is_due_later_is_refused_and_what_was_due_goes() {
        let due =
            |wait| message(1).into_builder().due(std::time::SystemTime::now() + std::time::Duration::from_secs(wait)).build();
        let refused = of(&due(60), Wire::CloudEvents, None, 100_000).map(drop).unwrap_err();
        assert!(matches!(refused, PublishError::Unsupported { broker: "nats", .. }), "{refused}");
        assert!(of(&due(0), Wire::CloudEvents, None, 100_000).is_ok());
    }

    #[test]
    fn a_message_at_the_limit_can_be_dead_lettered() {
        let group = GroupName::new("mail").unwrap();
        let largest = message(limit(100_000));
        let dead = Topic::dead(&group, largest.topic());
        assert!(of(&largest.into_builder().topic(dead).build(), Wire::CloudEvents, None, 100_000).is_ok());
    }

    #[test]
    fn a_dead_letter_keeps_its_attributes_on_every_wire() {
        let dead = Topic::dead(&GroupName::new("mail").unwrap(), message(1).topic());
        let letter = message(1).into_builder().topic(dead).build();
        for wire in [Wire::CloudEvents, Wire::Bare, Wire::GoMicro] {
            assert!(of(&letter, wire, None, 100_000).unwrap().headers.is_some());
        }
    }

    #[test]
    fn a_deduplication_id_cannot_break_the_line() {
        let text = Text::from("a\r\nNats-Rollup: all");
        let sent = of(&message(1), Wire::Bare, Some(&text), 100_000).unwrap();
        assert_eq!(sent.headers.unwrap().iter().count(), 1);
    }
}
