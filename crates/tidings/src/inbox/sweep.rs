//! Rows of messages that no broker can bring again.

use std::time::{Duration, SystemTime};

use tidings_core::Text;

use crate::{
    database::{Database, DatabaseError},
    delivery::Backlog,
    handlers::Registration,
    outbox::micros,
};

/// How often rows are looked for.
const EVERY: Duration = Duration::from_secs(3600);
/// The most rows that one statement removes, so that it keeps nobody waiting.
const BATCH: i64 = 1_000;

/// A subscription's rows in an inbox, and what it may still have to recognise by them. Others' rows are theirs to remove: their
/// broker may keep messages longer.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    pub(crate) database: Database,
    /// Its group and pattern, with which its rows' names begin.
    pub(crate) name: Text,
    pub(crate) backlog: Backlog,
}

impl Inbox {
    /// That of a registration, which is about to subscribe.
    pub(crate) fn of(registration: &Registration, database: Database) -> Self {
        Self { database, name: super::name_of(registration).into(), backlog: Backlog::since(SystemTime::now()) }
    }

    /// Removes rows older than `keep`, or than the broker keeps messages if that is longer, each hour, for ever.
    pub(crate) async fn sweep(self, keep: Duration, broker_keeps: Duration) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.forget(keep, broker_keeps).await {
                tracing::warn!(error = crate::error::chain(&error), "old rows of the inbox could not be removed");
            }
        }
    }

    /// The same at once, unless what was handled before the service started may still come again, however long ago that was;
    /// answers how many.
    pub(super) async fn forget(&self, keep: Duration, broker_keeps: Duration) -> Result<u64, DatabaseError> {
        if !self.backlog.is_drained(broker_keeps) {
            tracing::debug!("old rows of the inbox stay: what waited when the service started has not all come");
            return Ok(0);
        }
        remove_older(&self.database, &self.name, keep.max(broker_keeps)).await
    }
}

/// Removes all rows of that name older than `keep`, those of instances that are no more too; answers how many.
async fn remove_older(database: &Database, name: &str, keep: Duration) -> Result<u64, DatabaseError> {
    const REMOVE: &str = "DELETE FROM tidings_inbox WHERE (subscription, source, message_id) IN
        (SELECT subscription, source, message_id FROM tidings_inbox WHERE handled_at < $1
            AND substr(subscription || ' ', 1, length($3)) = $3 LIMIT $2)";
    let Some(before) = SystemTime::now().checked_sub(keep).map(micros) else { return Ok(0) };
    let name = format!("{name} ");
    let mut all = 0;
    loop {
        let removed = match database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => {
                let mut tx = crate::database::begin_immediate(pool).await?;
                let removed = sqlx::query(REMOVE).bind(before).bind(BATCH).bind(&name).execute(&mut *tx).await?.rows_affected();
                tx.commit().await?;
                removed
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => {
                sqlx::query(REMOVE).bind(before).bind(BATCH).bind(&name).execute(pool).await?.rows_affected()
            }
        };
        all += removed;
        if removed == 0 {
            return Ok(all);
        }
    }
}
