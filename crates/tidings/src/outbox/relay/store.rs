//! The relay's statements on the outbox's tables.

use tidings_core::PublishError;

use super::{cursor::Span, plan::Taken};
use crate::{
    database::Database,
    error::chain,
    outbox::row::{Row, micros},
};

/// The rows of one service.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) database: Database,
    pub(super) service: String,
}

/// How many rows wait, and how old the oldest is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backlog {
    pub(super) pending: i64,
    pub(super) oldest_seconds: f64,
}

/// The most rows, and the most bytes of their bodies, that one look takes.
pub(super) const MOST_ROWS: usize = 512;
const MOST_BYTES: i64 = 16 * 1024 * 1024;

/// What a look found.
pub(super) struct Found {
    pub(super) rows: Vec<Taken>,
    /// Rows that cannot be read as messages: they are to be rejected.
    pub(super) unreadable: Vec<(i64, PublishError)>,
    /// The last row, when the look took as many as it may, and the last that there was.
    pub(super) more_after: Option<(i64, i64)>,
}

impl Found {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.unreadable.is_empty()
    }
}

/// A look: rows in order, without those in hand and of full keys, up to so many rows and bytes, but always one.
macro_rules! look {
    ($headers:literal, $in_hand:literal, $full_keys:literal) => {
        concat!(
            "SELECT seq, source, id, type, topic, key, ",
            $headers,
            " AS headers, content_type, body, created_at,
                (SELECT max(seq) FROM tidings_outbox WHERE service = $1) AS newest FROM (
                SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before FROM (
                    SELECT * FROM tidings_outbox WHERE service = $1 AND seq > $6 AND seq <= $7 AND ",
            $in_hand,
            " AND (key IS NULL OR ",
            $full_keys,
            ") ORDER BY seq LIMIT $4) AS looked_at) AS measured
            WHERE before < $5 ORDER BY seq"
        )
    };
}

const LOOK_SQLITE: &str =
    look!("headers", "seq NOT IN (SELECT value FROM json_each($2))", "key NOT IN (SELECT value FROM json_each($3))");
const LOOK_POSTGRES: &str = look!("headers::text", "seq NOT IN (SELECT unnest($2))", "key NOT IN (SELECT unnest($3))");
/// Along the index, whatever the planner believes: it does not learn in time how a table grows that is empty most of the day, and
/// would read and sort all of a backlog for each look (1.5 s instead of 1.4 ms at 100,000 rows).
#[cfg(feature = "postgres")]
const BEGIN_LOOK: &str =
    "BEGIN READ ONLY; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off";
/// A deletion that a crash of the database undoes is done again, once its message was sent again: it need not wait for the disk.
#[cfg(feature = "postgres")]
const BEGIN_SETTLE: &str = "BEGIN; SET LOCAL synchronous_commit = off";
const BACKLOG: &str = "SELECT count(*), (SELECT created_at FROM tidings_outbox WHERE service = $1 ORDER BY seq LIMIT 1)
    FROM tidings_outbox WHERE service = $1";
const DELETE_SQLITE: &str = "DELETE FROM tidings_outbox WHERE service = $1 AND seq IN (SELECT value FROM json_each($2))";
/// The range bounds what is read, for the same reason.
const DELETE_POSTGRES: &str = "DELETE FROM tidings_outbox WHERE service = $1 AND seq BETWEEN $3 AND $4 AND seq = ANY ($2)";
const REJECT: &str = "INSERT INTO tidings_outbox_rejected
        (service, seq, source, id, type, topic, key, headers, content_type, body, created_at, error)
    SELECT service, seq, source, id, type, topic, key, headers, content_type, body, created_at, $3
    FROM tidings_outbox WHERE service = $1 AND seq = $2";

impl Store {
    /// Looks for as many rows as a look may take.
    pub(super) async fn look(&self, span: &Span) -> sqlx::Result<Found> {
        macro_rules! look {
            ($statement:expr, $in_hand:expr, $full_keys:expr) => {
                sqlx::query_as($statement)
                    .bind(&self.service)
                    .bind($in_hand)
                    .bind($full_keys)
                    .bind(i64::try_from(MOST_ROWS).unwrap_or(i64::MAX))
                    .bind(MOST_BYTES)
                    .bind(span.after)
                    .bind(span.up_to)
            };
        }
        let rows: Vec<Row> = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => look!(LOOK_SQLITE, json(&span.in_hand), json(&span.full_keys)).fetch_all(pool).await?,
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => {
                let mut tx = pool.begin_with(BEGIN_LOOK).await?;
                let rows = look!(LOOK_POSTGRES, &span.in_hand, &span.full_keys).fetch_all(&mut *tx).await?;
                tx.commit().await?;
                rows
            }
        };
        let more_after = rows.last().filter(|_| rows.len() >= MOST_ROWS).map(|row| (row.seq, row.newest));
        let (mut taken, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let seq = row.seq;
            match row.message() {
                Ok(message) => taken.push(Taken { seq, message }),
                Err(error) => unreadable.push((seq, error.into())),
            }
        }
        Ok(Found { rows: taken, unreadable, more_after })
    }

    /// Deletes rows that the broker has, and moves those that it will never take to the table of the rejected.
    pub(super) async fn settle(&self, gone: &[i64], rejected: &[(i64, PublishError)]) -> sqlx::Result<()> {
        if gone.is_empty() && rejected.is_empty() {
            return Ok(());
        }
        let all: Vec<i64> = gone.iter().copied().chain(rejected.iter().map(|(seq, _)| *seq)).collect();
        macro_rules! settle {
            ($tx:expr, $delete:expr) => {{
                let mut tx = $tx;
                for (seq, error) in rejected {
                    sqlx::query(REJECT).bind(&self.service).bind(seq).bind(chain(error)).execute(&mut *tx).await?;
                }
                $delete.execute(&mut *tx).await?;
                tx.commit().await
            }};
        }
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => {
                let delete = sqlx::query(DELETE_SQLITE).bind(&self.service).bind(json(&all));
                settle!(crate::database::begin_immediate(pool).await?, delete)
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => {
                let (first, last) = (all.iter().min(), all.iter().max());
                let delete = sqlx::query(DELETE_POSTGRES).bind(&self.service).bind(&all).bind(first).bind(last);
                settle!(pool.begin_with(BEGIN_SETTLE).await?, delete)
            }
        }
    }

    /// Counts what waits.
    pub(super) async fn backlog(&self) -> sqlx::Result<Backlog> {
        let (pending, oldest): (i64, Option<i64>) = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => sqlx::query_as(BACKLOG).bind(&self.service).fetch_one(pool).await?,
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => sqlx::query_as(BACKLOG).bind(&self.service).fetch_one(pool).await?,
        };
        let age = oldest.map_or(0, |oldest| micros(std::time::SystemTime::now()).saturating_sub(oldest).max(0));
        let age = std::time::Duration::from_micros(age.unsigned_abs());
        Ok(Backlog { pending, oldest_seconds: age.as_secs_f64() })
    }
}

#[cfg(feature = "sqlite")]
fn json<T: serde::Serialize>(values: &[T]) -> String {
    serde_json::to_string(values).unwrap_or_else(|_| "[]".to_owned())
}
