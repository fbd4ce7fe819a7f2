//! A message as a row, and back.

use std::time::{Duration, SystemTime};

use tidings_core::{Headers, InvalidName, Key, Message, MessageId, Source, Text, Topic, TraceContext};

/// The columns that are not in the message as they are stored.
pub(super) struct Columns {
    /// A JSON array of `[name, value]`, since names may repeat; the trace is among them, and when the message is due.
    pub(super) headers: String,
    /// Microseconds since 1970: what Postgres keeps too.
    pub(super) created_at: i64,
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Microseconds since 1970. No header can have this name.
const DUE: &str = "tidings:due";

impl Columns {
    pub(super) fn of(message: &Message) -> Self {
        let parent = message.trace().map(TraceContext::traceparent);
        let trace = parent.iter().map(|parent| (TRACEPARENT, parent.as_str()));
        let state = message.trace().and_then(TraceContext::state).map(|state| (TRACESTATE, state));
        // Not earlier: a part of a microsecond is a whole one.
        let due = message.due().map(|due| micros(due).saturating_add(1).to_string());
        let due = due.iter().map(|due| (DUE, due.as_str()));
        let all: Vec<_> = trace.chain(state).chain(due).chain(message.headers().iter()).collect();
        let headers = serde_json::to_string(&all).unwrap_or_else(|_| "[]".to_owned());
        Self { headers, created_at: micros(message.time().unwrap_or_else(SystemTime::now)) }
    }
}

pub(crate) fn micros(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

fn time(micros: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// A row as it is read.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) seq: i64,
    source: String,
    id: String,
    r#type: String,
    topic: String,
    key: Option<String>,
    headers: String,
    content_type: String,
    body: Vec<u8>,
    created_at: i64,
    /// The last number in the outbox.
    pub(super) newest: i64,
}

/// The columns in the order in which they are selected.
type Selected = (i64, String, String, String, String, Option<String>, String, String, Vec<u8>, i64, i64);

impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for Row
where
    Selected: sqlx::FromRow<'r, R>,
{
    fn from_row(row: &'r R) -> sqlx::Result<Self> {
        let (seq, source, id, r#type, topic, key, headers, content_type, body, created_at, newest) = Selected::from_row(row)?;
        Ok(Self { seq, source, id, r#type, topic, key, headers, content_type, body, created_at, newest })
    }
}

impl Row {
    /// The message that it was.
    ///
    /// # Errors
    /// When somebody else wrote the row, and not as we would.
    pub(super) fn message(self) -> Result<Message, InvalidName> {
        let mut headers = Headers::new();
        let mut trace = None;
        let (mut state, mut due) = (None, None);
        let stored: Vec<(String, String)> = serde_json::from_str(&self.headers).unwrap_or_default();
        for (name, value) in stored {
            match name.as_str() {
                TRACEPARENT => trace = value.parse().ok(),
                TRACESTATE => state = Some(value),
                DUE => due = value.parse().ok().map(time),
                _ => headers.append(name, value)?,
            }
        }
        let trace = trace.map(|trace: TraceContext| trace.with_state(state.unwrap_or_default()));
        let message = Message::builder(Topic::from_wire(self.topic)?, Source::new(&self.source)?, self.body.into())
            .id(MessageId::new(&self.id)?)
            .event_type(self.r#type)
            .content_type(Text::from(self.content_type))
            .time(time(self.created_at))
            .due(due)
            .key(self.key.as_deref().map(Key::new).transpose()?)
            .trace(trace)
            .headers(headers);
        Ok(message.build())
    }
}
