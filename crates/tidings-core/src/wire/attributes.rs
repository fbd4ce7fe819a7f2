//! The attributes of a message as names and values.

use std::{io, time::SystemTime};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::Message;

/// Calls `put` with each attribute of `message` but the content type, which most bindings treat apart.
///
/// Names are the bare CloudEvents ones (`id`, `partitionkey`); values are plain UTF-8.
pub fn attributes(message: &Message, mut put: impl FnMut(&'static str, &str)) {
    put("specversion", "1.0");
    message.id().with_str(|id| put("id", id));
    put("source", message.source().as_str());
    put("type", message.event_type());
    if let Some(time) = message.time() {
        let mut buffer = [0; TIME_LEN];
        put("time", write_time(time, &mut buffer));
    }
    if let Some(key) = message.key() {
        put("partitionkey", key.as_str());
    }
    if let Some(trace) = message.trace() {
        put("traceparent", trace.traceparent().as_str());
        if let Some(state) = trace.state() {
            put("tracestate", state);
        }
    }
}

/// `2026-11-24T15:39:03.123456789Z`, with room for years that nobody will see.
const TIME_LEN: usize = 40;

/// A time by RFC 3339, in UTC, written into a buffer on the stack.
pub fn write_time(time: SystemTime, buffer: &mut [u8; TIME_LEN]) -> &str {
    let mut to = io::Cursor::new(&mut buffer[..]);
    let written = match OffsetDateTime::from(time).format_into(&mut to, &Rfc3339) {
        // Its own count leaves out all but one digit of the fraction (time 0.3.55).
        Ok(_) => usize::try_from(to.position()).unwrap_or(0),
        Err(_) => 0,
    };
    str::from_utf8(&buffer[..written]).unwrap_or_default()
}

/// Reads a time by RFC 3339.
#[must_use]
pub fn parse_time(text: &str) -> Option<SystemTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok().map(SystemTime::from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_time_is_written_by_rfc_3339_and_read_back() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_800_000_000_123_456_789);
        let mut buffer = [0; TIME_LEN];
        let text = write_time(time, &mut buffer);
        assert_eq!(text, "2027-01-15T08:00:00.123456789Z");
        assert_eq!(parse_time(text), Some(time));
        assert_eq!(parse_time("2027-01-15T09:00:00.123456789+01:00"), Some(time));
        assert_eq!(parse_time("yesterday"), None);
    }
}
