//! A message as a row, and back.

use std::time::SystemTime;

use sqlx::{QueryBuilder, Row, Sqlite, query_builder::Separated, sqlite::SqliteRow};
use tidings_core::{
    Headers, Key, Message, MessageId, Source, Topic, TraceContext,
    wire::{parse_time, write_time},
};

/// A message about to be stored.
#[derive(Debug)]
pub(super) struct NewRow<'a> {
    pub(super) topic: i64,
    pub(super) at: i64,
    pub(super) size: i64,
    pub(super) message: &'a Message,
}

/// The columns that [`bind`] binds.
macro_rules! columns {
    () => {
        "topic, size, key, dedup, source, id, type, time, content_type, traceparent, tracestate, headers, body"
    };
}

/// Stores rows; answers topic and size of those that were not there before.
pub(super) fn insert(rows: &[NewRow<'_>]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(concat!("INSERT INTO message (at, ", columns!(), ") "));
    query.push_values(rows, |mut row, new| {
        row.push_bind(new.at);
        bind(&mut row, new);
    });
    query.push(" ON CONFLICT (dedup) DO NOTHING RETURNING topic, size");
    query
}

/// Stores one to be held back, unless it was published before.
pub(super) fn insert_later(new: &NewRow<'_>, due: i64) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(concat!("INSERT INTO later (due, ", columns!(), ") SELECT "));
    let mut row = query.separated(", ");
    row.push_bind(due);
    bind(&mut row, new);
    query.push(" WHERE NOT EXISTS (SELECT 1 FROM message WHERE dedup = ");
    query.push_bind(new.message.dedup_id().as_str().to_owned());
    query.push(") ON CONFLICT (dedup) DO NOTHING");
    query
}

fn bind(row: &mut Separated<'_, Sqlite, &'static str>, new: &NewRow<'_>) {
    let message = new.message;
    let text = |text: &str| text.to_owned();
    row.push_bind(new.topic)
        .push_bind(new.size)
        .push_bind(message.key().map(|key| text(key.as_str())))
        .push_bind(text(&message.dedup_id()))
        .push_bind(text(message.source().as_str()))
        .push_bind(message.id().with_str(text))
        .push_bind((message.event_type() != message.topic().text()).then(|| text(message.event_type())))
        .push_bind(message.time().map(time))
        .push_bind(message.content_type().map(|content_type| text(content_type)))
        .push_bind(message.trace().map(|trace| text(trace.traceparent().as_str())))
        .push_bind(message.trace().and_then(TraceContext::state).map(text))
        .push_bind((!message.headers().is_empty()).then(|| headers(message.headers())))
        .push_bind(message.body().to_vec());
}

/// The columns that [`read`] reads, of messages whose numbers are a JSON array.
pub(super) const SELECT: &str = "SELECT m.seq, m.topic, m.key, m.source, m.id, m.type, m.time, m.content_type, m.traceparent, \
                                 m.tracestate, m.headers, m.body FROM json_each(?) j CROSS JOIN message m WHERE m.seq = j.value";

/// A stored message, all but its topic's name.
pub(super) fn read(row: &SqliteRow, topic: Topic) -> Result<Message, sqlx::Error> {
    let text = |place: usize| row.try_get::<Option<&str>, _>(place);
    let body: Vec<u8> = row.try_get(11)?;
    let source = Source::new(text(3)?.unwrap_or_default()).map_err(undecodable)?;
    let mut message = Message::builder(topic, source, body.into())
        .id(MessageId::new(text(4)?.unwrap_or_default()).map_err(undecodable)?)
        .key(text(2)?.map(Key::new).transpose().map_err(undecodable)?)
        .time(text(6)?.and_then(parse_time))
        .trace(trace(text(8)?, text(9)?));
    if let Some(event_type) = text(5)? {
        message = message.event_type(event_type);
    }
    if let Some(content_type) = text(7)? {
        message = message.content_type(content_type);
    }
    if let Some(stored) = text(10)? {
        message = message.headers(read_headers(stored)?);
    }
    Ok(message.build())
}

fn undecodable(error: impl std::error::Error + Send + Sync + 'static) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}

fn time(time: SystemTime) -> String {
    write_time(time, &mut [0; 40]).to_owned()
}

fn trace(parent: Option<&str>, state: Option<&str>) -> Option<TraceContext> {
    let trace: TraceContext = parent?.parse().ok()?;
    Some(match state {
        Some(state) => trace.with_state(state),
        None => trace,
    })
}

/// An array of pairs: names may repeat, and their order counts.
fn headers(headers: &Headers) -> String {
    serde_json::Value::from_iter(headers.iter().map(|(name, value)| serde_json::Value::from_iter([name, value]))).to_string()
}

fn read_headers(stored: &str) -> Result<Headers, sqlx::Error> {
    let pairs: Vec<(String, String)> = serde_json::from_str(stored).map_err(undecodable)?;
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.append(name, value).map_err(undecodable)?;
    }
    Ok(headers)
}
