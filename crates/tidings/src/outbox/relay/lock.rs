//! One relay at a time for each service and outbox.

#[cfg(feature = "sqlite")]
use std::fs::File;

#[cfg(feature = "postgres")]
use sqlx::{ConnectOptions, PgConnection};

use super::RelayError;
use crate::database::Database;

/// The lock, held. A drop gives it back.
#[derive(Debug)]
pub(super) enum Lock {
    /// The kernel frees it with its process; a row that beats would outlive a `kill -9`.
    #[cfg(feature = "sqlite")]
    File(#[expect(dead_code, reason = "held, not used")] File),
    /// A database in memory is in one process.
    #[cfg(feature = "sqlite")]
    InMemory,
    /// A session's advisory lock, which the server frees with the connection.
    #[cfg(feature = "postgres")]
    Session(Box<PgConnection>),
}

/// The first half of the relay's advisory lock; the second is a hash of schema and service.
#[cfg(feature = "postgres")]
const LOCK_CLASS: i32 = 0x7469_6402;
/// How long the database may take to say whose the lock is.
#[cfg(feature = "postgres")]
const ANSWER: std::time::Duration = std::time::Duration::from_secs(1);

/// What a look at the lock found.
#[derive(Debug)]
pub(super) enum Held {
    /// It is ours.
    Ours,
    /// Its connection does not answer: another one may have it.
    Unknown(String),
}

/// Tries to get the lock; `None` when another one has it.
pub(super) async fn acquire(database: &Database, service: &str) -> Result<Option<Lock>, RelayError> {
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(pool) => file_lock(pool, service).await,
        #[cfg(feature = "postgres")]
        Database::Postgres(pool) => {
            let mut connection = pool.connect_options().connect().await?;
            // A host that is lost without a word keeps its connection, and so the lock, for hours by default.
            let session = "SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 3";
            sqlx::raw_sql(session).execute(&mut connection).await?;
            let ours: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1, hashtext(current_schema() || ' ' || $2))")
                .bind(LOCK_CLASS)
                .bind(service)
                .fetch_one(&mut connection)
                .await?;
            Ok(ours.then(|| Lock::Session(Box::new(connection))))
        }
    }
}

impl Lock {
    /// Looks whether it is still ours.
    ///
    /// # Errors
    /// When the session's lock is gone while the session answers: something between us and the server shares connections.
    #[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "nothing to ask a file"))]
    pub(super) async fn look(&mut self, service: &str) -> Result<Held, RelayError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::File(_) | Self::InMemory => Ok(Held::Ours),
            #[cfg(feature = "postgres")]
            Self::Session(connection) => {
                let asked = sqlx::query_scalar::<_, bool>(
                    "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid()
                     AND classid = $1::int4::oid AND objid = hashtext(current_schema() || ' ' || $2)::oid AND objsubid = 2)",
                )
                .bind(LOCK_CLASS)
                .bind(service)
                .fetch_one(&mut **connection);
                match tokio::time::timeout(ANSWER, asked).await {
                    Ok(Ok(true)) => Ok(Held::Ours),
                    Ok(Ok(false)) => Err(RelayError::LockGone),
                    Ok(Err(error)) => Ok(Held::Unknown(error.to_string())),
                    Err(_) => Ok(Held::Unknown("no answer within a second".to_owned())),
                }
            }
        }
    }
}

#[cfg(feature = "sqlite")]
async fn file_lock(pool: &sqlx::SqlitePool, service: &str) -> Result<Option<Lock>, RelayError> {
    let path: String = sqlx::query_scalar("SELECT file FROM pragma_database_list WHERE name = 'main'").fetch_one(pool).await?;
    if path.is_empty() {
        return Ok(Some(Lock::InMemory));
    }
    let path = std::path::PathBuf::from(format!("{path}-relay-{service}"));
    let failed = |source| RelayError::LockFile { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(Lock::File(file))),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}
