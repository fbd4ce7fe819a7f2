//! Where users are kept: one [`Store`], on SQLite or Postgres.
//!
//! Both read the same SQL; what differs has a file of its own. What may be stored is `domain`'s business, who may ask is
//! `rpc`'s.

mod postgres;
mod sqlite;
mod take_over;
#[cfg(test)]
mod tests;

use sqlx::{PgPool, SqlitePool};
use tidings::{
    BoxError, PublishError,
    database::{Database, begin_immediate},
    outbox::Outbox,
};

pub use self::take_over::TakeOverError;
use crate::{
    domain::{User, UserId, fold_email},
    event::UserCreated,
};

const INSERT: &str = "INSERT INTO users (id, name, company, email, password) VALUES ($1, $2, $3, $4, $5)";
const BY_ID: &str = "SELECT id, name, company, email FROM users WHERE id = $1";
const PAGE: &str = "SELECT id, name, company, email FROM users WHERE id > $1 ORDER BY id LIMIT $2";
const CREDENTIALS: &str = "SELECT id, password FROM users WHERE email = $1";
const RENEW: &str = "UPDATE users SET password = $1 WHERE id = $2 AND password = $3";

/// The users, and the events that tell of them.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    outbox: Outbox,
}

#[derive(Clone, Debug)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// What a login is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Whose they are.
    pub user: UserId,
    /// The stored hash; a user of the tutorial's may have none.
    pub hash: String,
}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another user has the address.
    #[error("another user has this e-mail")]
    EmailTaken,
    /// The database is busy or away; the same call may succeed later.
    #[error("the database is busy or away")]
    Unavailable(#[source] BoxError),
    /// A row breaks the table's own rules.
    #[error("the table `users` has a row with a wrong id")]
    Row,
    /// The event cannot be written beside the user.
    #[error("the event of a new user cannot be stored")]
    Event(#[source] PublishError),
    /// The database refuses what it should not.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// Runs `$query` on whichever pool this is; the query itself is the same for both.
macro_rules! on {
    ($pool:expr, |$each:ident| $query:expr) => {
        match $pool {
            Pool::Sqlite($each) => $query,
            Pool::Postgres($each) => $query,
        }
    };
}
/// The row first, the event after, so that two events of one user have the order of its rows.
macro_rules! insert {
    ($begin:expr, $outbox:expr, $user:ident, $hash:ident) => {{
        let mut tx = $begin.await?;
        sqlx::query(INSERT)
            .bind($user.id.to_string())
            .bind(&$user.name)
            .bind(&$user.company)
            .bind(&$user.email)
            .bind($hash)
            .execute(&mut *tx)
            .await?;
        $outbox.publish(&mut tx, &UserCreated::from($user)).await.map_err(not_published)?;
        Ok(tx.commit().await?)
    }};
}

type Row = (String, Option<String>, Option<String>, Option<String>);

impl Store {
    /// The store in `database`, whose table is made, or taken over from the tutorial's service; `outbox` is in the same
    /// database.
    ///
    /// # Errors
    /// [`TakeOverError`], when a table is there that cannot be used as it is.
    pub async fn open(database: &Database, outbox: Outbox) -> Result<Self, TakeOverError> {
        let pool = match database {
            Database::Sqlite(pool) => Pool::Sqlite(pool.clone()),
            Database::Postgres(pool) => Pool::Postgres(pool.clone()),
            _ => return Err(TakeOverError::Unknown),
        };
        take_over::prepare(database, &pool).await?;
        Ok(Self { pool, outbox })
    }

    /// Stores `user` with the hash of its password, and the event that tells of it, both or neither.
    ///
    /// # Errors
    /// [`StoreError::EmailTaken`] before all others.
    ///
    /// # Cancel safety
    /// A dropped future has stored both or neither.
    pub async fn create(&self, user: &User, hash: &str) -> Result<(), StoreError> {
        match &self.pool {
            Pool::Sqlite(pool) => insert!(begin_immediate(pool), self.outbox, user, hash),
            Pool::Postgres(pool) => insert!(pool.begin(), self.outbox, user, hash),
        }
    }

    /// The user with this id, if there is one.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn get(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let id = id.to_string();
        let row: Option<Row> = on!(&self.pool, |pool| sqlx::query_as(BY_ID).bind(id).fetch_optional(pool).await)?;
        row.map(user_of).transpose()
    }

    /// Up to `most` users, in the order of their ids, those after `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn page(&self, after: Option<UserId>, most: u32) -> Result<Vec<User>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let most = i64::from(most);
        let rows: Vec<Row> = on!(&self.pool, |pool| sqlx::query_as(PAGE).bind(after).bind(most).fetch_all(pool).await)?;
        rows.into_iter().map(user_of).collect()
    }

    /// What a login with this address, in any case, is checked against.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn credentials(&self, email: &str) -> Result<Option<Credentials>, StoreError> {
        // Postgres takes no NUL, and nobody's address has one.
        if email.contains('\0') {
            return Ok(None);
        }
        let email = fold_email(email);
        let row: Option<(String, Option<String>)> =
            on!(&self.pool, |pool| sqlx::query_as(CREDENTIALS).bind(email).fetch_optional(pool).await)?;
        row.map(|(id, hash)| Ok(Credentials { user: stored_id(&id)?, hash: hash.unwrap_or_default() })).transpose()
    }

    /// Replaces the hash that `old` was read with, unless it has changed since.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn renew(&self, old: &Credentials, hash: &str) -> Result<(), StoreError> {
        let id = old.user.to_string();
        match &self.pool {
            Pool::Sqlite(pool) => {
                let mut tx = begin_immediate(pool).await?;
                sqlx::query(RENEW).bind(hash).bind(id).bind(&old.hash).execute(&mut *tx).await?;
                tx.commit().await?;
            }
            Pool::Postgres(pool) => {
                sqlx::query(RENEW).bind(hash).bind(id).bind(&old.hash).execute(pool).await?;
            }
        }
        Ok(())
    }
}

fn user_of((id, name, company, email): Row) -> Result<User, StoreError> {
    Ok(User {
        id: stored_id(&id)?,
        name: name.unwrap_or_default(),
        company: company.unwrap_or_default(),
        email: email.unwrap_or_default(),
    })
}

fn stored_id(id: &str) -> Result<UserId, StoreError> {
    id.parse().map_err(|_| StoreError::Row)
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(said) if said.is_unique_violation() => Self::EmailTaken,
            known if is_unavailable(known) => Self::Unavailable(error.into()),
            _ => Self::Database(error),
        }
    }
}

fn not_published(error: PublishError) -> StoreError {
    match error {
        PublishError::Outbox(source) | PublishError::Conflict(source) if source.downcast_ref().is_some_and(is_unavailable) => {
            StoreError::Unavailable(source)
        }
        other => StoreError::Event(other),
    }
}

/// Whether the same may succeed later.
fn is_unavailable(error: &sqlx::Error) -> bool {
    use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};

    matches!(error, Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed)
        || sqlite::is_unavailable(error)
        || postgres::is_unavailable(error)
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}
