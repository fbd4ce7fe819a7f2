//! Messages that are held back until they are due: in a table of their own, from which whoever has the file open moves them.
//!
//! From then on they are messages as all others, published at that time: each group gets them that is there, at the end of
//! their key, and they stay for as long.

use std::time::{Duration, SystemTime};

use sqlx::{Row, SqliteConnection};
use tidings_core::Topic;

use super::{millis, publish::Totals, row, topics::Topics};

/// The longest that one is held back: as long as messages are kept by default. What is for later than that is better kept in a
/// table of the program's own.
pub(super) const LONGEST: Duration = Duration::from_hours(7 * 24);

/// Messages that one transaction moves.
const BATCH: i64 = 1_000;

pub(super) const NEXT: &str = "SELECT min(due) FROM later";
/// Those that are due by `?1`.
macro_rules! due {
    () => {
        "(SELECT seq FROM later WHERE due <= ?1 ORDER BY due, seq LIMIT ?2)"
    };
}
pub(super) const FIND: &str = concat!("SELECT DISTINCT topic FROM later WHERE seq IN ", due!());
pub(super) const MOVE: &str = concat!(
    "INSERT INTO message (topic, at, size, key, dedup, source, id, type, time, content_type, traceparent, tracestate, headers, body) ",
    "SELECT topic, ?3, size, key, dedup, source, id, type, time, content_type, traceparent, tracestate, headers, body ",
    "FROM later WHERE seq IN ",
    due!(),
    " ORDER BY due, seq ON CONFLICT (dedup) DO NOTHING RETURNING size"
);
pub(super) const DELETE: &str = concat!("DELETE FROM later WHERE seq IN ", due!(), " RETURNING size");

/// Stores one; answers whether it is new.
pub(super) async fn hold_back(
    connection: &mut SqliteConnection,
    new: &row::NewRow<'_>,
    due: SystemTime,
) -> Result<bool, sqlx::Error> {
    // The first whole millisecond that is not too early, and the clock's own are cut.
    let due = millis(due).saturating_add(2);
    let stored = row::insert_later(new, due).build().execute(connection).await?;
    Ok(stored.rows_affected() > 0)
}

/// When the next one is due.
pub(super) async fn next(connection: &mut SqliteConnection) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(NEXT).fetch_one(connection).await
}

/// Moves what is due, as published now; answers its topics.
pub(super) async fn release(connection: &mut SqliteConnection, topics: &mut Topics, now: i64) -> Result<Vec<Topic>, sqlx::Error> {
    let found = sqlx::query(FIND).bind(now).bind(BATCH).fetch_all(&mut *connection).await?;
    let mut of = Vec::with_capacity(found.len());
    for row in &found {
        of.push(topics.name(connection, row.try_get(0)?).await?);
    }
    if of.is_empty() {
        return Ok(of);
    }
    let mut totals = Totals::read(connection).await?;
    let at = totals.published_at(now);
    let moved: Vec<i64> = sqlx::query_scalar(MOVE).bind(now).bind(BATCH).bind(at).fetch_all(&mut *connection).await?;
    let gone: Vec<i64> = sqlx::query_scalar(DELETE).bind(now).bind(BATCH).fetch_all(&mut *connection).await?;
    // Another message of that de-duplication id came meanwhile, and was not held back.
    totals.drop_bytes(gone.iter().sum::<i64>() - moved.iter().sum::<i64>());
    totals.write(connection).await?;
    Ok(of)
}
