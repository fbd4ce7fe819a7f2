//! Who has had the welcome mail: the service's own table, one row a user.
//!
//! It is looked at before a mail and written after it, so that an event that comes twice, in whatever form, mails once.
//! Instances that share a group must share this database.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sqlx::{PgPool, SqlitePool};
use tidings::database::{Database, DatabaseError, Migrations, begin_immediate};

const MIGRATIONS: Migrations = Migrations {
    component: "mailed",
    sqlite: &["CREATE TABLE mailed (
        user_id text NOT NULL PRIMARY KEY,
        at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    ) WITHOUT ROWID"],
    postgres: &["CREATE TABLE mailed (
        user_id text PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now()
    )"],
};

const IS_THERE: &str = "SELECT 1 FROM mailed WHERE user_id = $1";
const PUT: &str = "INSERT INTO mailed (user_id) VALUES ($1) ON CONFLICT DO NOTHING";

/// Most users that are remembered because their row could not be written.
const MOST_UNWRITTEN: usize = 4_096;

/// The users that were mailed.
#[derive(Debug)]
pub struct Mailed {
    pool: Pool,
    /// Mailed, but the row could not be written. Without it a full disk, which stops writing but not reading, would mail a
    /// user at every attempt of a whole day.
    unwritten: Mutex<HashSet<String>>,
}

#[derive(Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Why it is not known, or not stored, whether a user was mailed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MailedError {
    /// The table cannot be made or is another version's.
    #[error("the table `mailed` of --database cannot be used")]
    Table(#[from] DatabaseError),
    /// The database is of a kind that this service has no statements for.
    #[error("--database is neither sqlite: nor postgres://")]
    Unknown,
    /// The database does not answer.
    #[error("the table `mailed` of --database does not answer")]
    Query(#[from] sqlx::Error),
}

impl Mailed {
    /// The table in `database`, made when it is absent.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn open(database: &Database) -> Result<Self, MailedError> {
        let pool = match database {
            Database::Sqlite(pool) => Pool::Sqlite(pool.clone()),
            Database::Postgres(pool) => Pool::Postgres(pool.clone()),
            _ => return Err(MailedError::Unknown),
        };
        database.migrate(&MIGRATIONS).await?;
        Ok(Self { pool, unwritten: Mutex::default() })
    }

    /// Whether `user` was mailed.
    ///
    /// # Errors
    /// When the database does not answer, or cannot yet store what it should have stored.
    pub(crate) async fn has(&self, user: &str) -> Result<bool, MailedError> {
        if self.unwritten().contains(user) {
            self.write(user).await?;
            self.unwritten().remove(user);
            return Ok(true);
        }
        Ok(match &self.pool {
            Pool::Sqlite(pool) => sqlx::query(IS_THERE).bind(user).fetch_optional(pool).await?.is_some(),
            Pool::Postgres(pool) => sqlx::query(IS_THERE).bind(user).fetch_optional(pool).await?.is_some(),
        })
    }

    /// Stores that `user` was mailed.
    ///
    /// # Errors
    /// When the database does not take it; this process remembers it until it does.
    pub(crate) async fn put(&self, user: &str) -> Result<(), MailedError> {
        let written = self.write(user).await;
        if written.is_err() {
            let mut unwritten = self.unwritten();
            if unwritten.len() < MOST_UNWRITTEN {
                unwritten.insert(user.to_owned());
            }
        }
        written
    }

    async fn write(&self, user: &str) -> Result<(), MailedError> {
        match &self.pool {
            Pool::Sqlite(pool) => {
                let mut tx = begin_immediate(pool).await?;
                sqlx::query(PUT).bind(user).execute(&mut *tx).await?;
                tx.commit().await?;
            }
            Pool::Postgres(pool) => sqlx::query(PUT).bind(user).execute(pool).await.map(drop)?,
        }
        Ok(())
    }

    fn unwritten(&self) -> MutexGuard<'_, HashSet<String>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tidings::database::DatabaseOptions;

    use super::*;

    async fn open(url: &str) -> (Database, Mailed) {
        let database = Database::open(url, &DatabaseOptions::default(), |_| {}).await.unwrap();
        let mailed = Mailed::open(&database).await.unwrap();
        (database, mailed)
    }

    async fn sqlite() -> (tempfile::TempDir, Database, Mailed) {
        let folder = tempfile::tempdir().unwrap();
        let (database, mailed) = open(&format!("sqlite:{}/email.db", folder.path().display())).await;
        (folder, database, mailed)
    }

    async fn remembers(mailed: &Mailed) {
        assert!(!mailed.has("имя '; --").await.unwrap());
        mailed.put("имя '; --").await.unwrap();
        mailed.put("имя '; --").await.unwrap();
        assert!(mailed.has("имя '; --").await.unwrap());
        assert!(!mailed.has("another").await.unwrap());
    }

    #[tokio::test]
    async fn a_user_is_remembered_across_restarts() {
        let (folder, database, mailed) = sqlite().await;
        remembers(&mailed).await;
        database.close().await;
        let (_, again) = open(&format!("sqlite:{}/email.db", folder.path().display())).await;
        assert!(again.has("имя '; --").await.unwrap());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_user_is_remembered_on_postgres() {
        let Some(postgres) = tidings_testing::servers::Postgres::shared().await else { return };
        let (_, mailed) = open(&postgres.database().await).await;
        remembers(&mailed).await;
    }

    #[tokio::test]
    async fn a_row_that_could_not_be_written_is_known_and_written_later() {
        let (_folder, database, mailed) = sqlite().await;
        let Database::Sqlite(pool) = &database else { panic!() };
        let refuse = "CREATE TRIGGER full BEFORE INSERT ON mailed BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
        sqlx::raw_sql(refuse).execute(pool).await.unwrap();
        mailed.put("1").await.unwrap_err();
        mailed.has("1").await.unwrap_err();
        assert!(!mailed.has("2").await.unwrap());
        sqlx::raw_sql("DROP TRIGGER full").execute(pool).await.unwrap();
        assert!(mailed.has("1").await.unwrap());
        assert!(mailed.unwritten().is_empty());
        assert!(mailed.has("1").await.unwrap());
    }
}
