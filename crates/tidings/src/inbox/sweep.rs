//! Rows of messages that no broker can bring again.

use std::time::{Duration, SystemTime};

use crate::{
    database::{Database, DatabaseError},
    delivery::Backlog,
    outbox::micros,
};

/// How often rows are looked for.
const EVERY: Duration = Duration::from_secs(3600);
/// The most rows that one statement removes, so that it keeps nobody waiting.
const BATCH: i64 = 1_000;

/// An inbox, and what its subscriptions may still have to recognise by its rows.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    pub(crate) database: Database,
    pub(crate) backlogs: Vec<Backlog>,
}

impl Inbox {
    /// Removes rows older than `keep`, each hour, for ever.
    pub(crate) async fn sweep(self, keep: Duration) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.forget(keep).await {
                tracing::warn!(error = crate::error::chain(&error), "old rows of the inbox could not be removed");
            }
        }
    }

    /// Removes rows older than `keep`, unless what was handled before the service started may still come again, however long ago
    /// that was; answers how many.
    pub(super) async fn forget(&self, keep: Duration) -> Result<u64, DatabaseError> {
        if !self.backlogs.iter().all(Backlog::is_drained) {
            tracing::debug!("old rows of the inbox stay: what waited when the service started has not all come");
            return Ok(0);
        }
        remove_older(&self.database, keep).await
    }
}

/// Removes all rows older than `keep`; answers how many.
async fn remove_older(database: &Database, keep: Duration) -> Result<u64, DatabaseError> {
    const REMOVE: &str = "DELETE FROM tidings_inbox WHERE (subscription, source, message_id) IN
        (SELECT subscription, source, message_id FROM tidings_inbox WHERE handled_at < $1 LIMIT $2)";
    let Some(before) = SystemTime::now().checked_sub(keep).map(micros) else { return Ok(0) };
    let mut all = 0;
    loop {
        let removed = match database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => {
                let mut tx = crate::database::begin_immediate(pool).await?;
                let removed = sqlx::query(REMOVE).bind(before).bind(BATCH).execute(&mut *tx).await?.rows_affected();
                tx.commit().await?;
                removed
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => sqlx::query(REMOVE).bind(before).bind(BATCH).execute(pool).await?.rows_affected(),
        };
        all += removed;
        if removed == 0 {
            return Ok(all);
        }
    }
}
