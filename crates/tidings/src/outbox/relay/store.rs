//! The relay's statements on the outbox's tables.

use tidings_core::PublishError;

use super::plan::{Plan, Taken};
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
pub(super) const MOST_ROWS: i64 = 512;
const MOST_BYTES: i64 = 16 * 1024 * 1024;

/// A look: rows in order, without those in hand and of full keys, up to so many rows and bytes, but always one.
macro_rules! look {
    ($headers:literal, $in_hand:literal, $full_keys:literal) => {
        concat!(
            "SELECT seq, source, id, type, topic, key, ",
            $headers,
            " AS headers, content_type, body, created_at FROM (
                SELECT *, sum(octet_length(body)) OVER (ORDER BY seq) - octet_length(body) AS before FROM (
                    SELECT * FROM tidings_outbox WHERE service = $1 AND ",
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
const LOOK_POSTGRES: &str = look!("headers::text", "seq <> ALL ($2)", "key <> ALL ($3)");
const BACKLOG: &str = "SELECT count(*), min(created_at) FROM tidings_outbox WHERE service = $1";
const DELETE_SQLITE: &str = "DELETE FROM tidings_outbox WHERE service = $1 AND seq IN (SELECT value FROM json_each($2))";
const DELETE_POSTGRES: &str = "DELETE FROM tidings_outbox WHERE service = $1 AND seq = ANY ($2)";
const REJECT: &str = "INSERT INTO tidings_outbox_rejected
        (service, seq, source, id, type, topic, key, headers, content_type, body, created_at, error)
    SELECT service, seq, source, id, type, topic, key, headers, content_type, body, created_at, $3
    FROM tidings_outbox WHERE service = $1 AND seq = $2";

impl Store {
    /// Looks for rows that are not in hand.
    ///
    /// A row that cannot be read as a message is answered apart: it is to be rejected.
    pub(super) async fn look(&self, plan: &Plan) -> sqlx::Result<(Vec<Taken>, Vec<(i64, PublishError)>)> {
        let most = MOST_ROWS.min(i64::try_from(plan.room()).unwrap_or(MOST_ROWS));
        let rows: Vec<Row> = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => {
                let query =
                    sqlx::query_as(LOOK_SQLITE).bind(&self.service).bind(json(&plan.in_hand())).bind(json(&plan.full_keys()));
                query.bind(most).bind(MOST_BYTES).fetch_all(pool).await?
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => {
                let query = sqlx::query_as(LOOK_POSTGRES).bind(&self.service).bind(plan.in_hand()).bind(plan.full_keys());
                query.bind(most).bind(MOST_BYTES).fetch_all(pool).await?
            }
        };
        let (mut taken, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let seq = row.seq;
            match row.message() {
                Ok(message) => taken.push(Taken { seq, message }),
                Err(error) => unreadable.push((seq, error.into())),
            }
        }
        Ok((taken, unreadable))
    }

    /// Deletes rows that the broker has, and moves those that it will never take to the table of the rejected.
    pub(super) async fn settle(&self, gone: &[i64], rejected: &[(i64, PublishError)]) -> sqlx::Result<()> {
        if gone.is_empty() && rejected.is_empty() {
            return Ok(());
        }
        let all: Vec<i64> = gone.iter().copied().chain(rejected.iter().map(|(seq, _)| *seq)).collect();
        macro_rules! settle {
            ($tx:expr, $delete:expr, $all:expr) => {{
                let mut tx = $tx;
                for (seq, error) in rejected {
                    sqlx::query(REJECT).bind(&self.service).bind(seq).bind(chain(error)).execute(&mut *tx).await?;
                }
                sqlx::query($delete).bind(&self.service).bind($all).execute(&mut *tx).await?;
                tx.commit().await
            }};
        }
        match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => settle!(crate::database::begin_immediate(pool).await?, DELETE_SQLITE, json(&all)),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => settle!(pool.begin().await?, DELETE_POSTGRES, all),
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
