//! The table `users`: made where it is missing, taken over where the go-micro tutorial's service made it.
//!
//! That service (gorm's `AutoMigrate`) wrote e-mails as they came, and checked nothing. Taking over keeps every row and every
//! column: it looks at the ids, folds the e-mails to lower case, and makes them unique. What stands in the way is named and
//! everything left as it was, for all of it is one transaction.

use tidings::database::{Database, DatabaseError, Migrations, begin_immediate};
use tracing::info;

use super::{Pool, postgres, sqlite};
use crate::domain::{UserId, fold_email};

/// Culprits that an error names.
const NAMED: usize = 20;

/// A user of the tutorial's without an address keeps NULL, so that the index needs no exception.
const FIRST: &str = "CREATE TABLE IF NOT EXISTS users (
    id text NOT NULL PRIMARY KEY, name text NOT NULL, company text NOT NULL, email text, password text NOT NULL);
    CREATE UNIQUE INDEX IF NOT EXISTS users_tidings_email ON users (email)";

const MIGRATIONS: Migrations = Migrations { component: "users", sqlite: &[FIRST], postgres: &[FIRST] };

const NEEDED: [&str; 5] = ["id", "name", "company", "email", "password"];
const WITHOUT_ID: &str = "SELECT 1 FROM users WHERE id IS NULL OR id = '' LIMIT 1";
const BATCH: &str = "SELECT id, coalesce(email, '') FROM users WHERE id > $1 ORDER BY id LIMIT 1000";
const SET_EMAIL: &str = "UPDATE users SET email = $1 WHERE id = $2";
const NO_EMAIL: &str = "UPDATE users SET email = NULL WHERE email = ''";
const TWICE: &str = "SELECT email FROM users WHERE email IS NOT NULL GROUP BY email HAVING count(*) > 1 ORDER BY email LIMIT 21";
const UNIQUE_ID: &str = "CREATE UNIQUE INDEX users_tidings_id ON users (id)";
const UNIQUE_EMAIL: &str = "CREATE UNIQUE INDEX users_tidings_email ON users (email)";

/// Why the table cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeOverError {
    /// The table is not of the tutorial's making.
    #[error("the table `users` has no text column `{0}`, so that it is not the tutorial's: choose another database")]
    Foreign(&'static str),
    /// A row that no caller could name.
    #[error("the table `users` has a row whose id is {0:?}, not a lower-case UUID: give it one, or delete it")]
    Id(String),
    /// Addresses that more than one user has.
    #[error("the table `users` has e-mails that occur twice, upper and lower case being one: {}: leave each to one user", named(.0))]
    Twice(Vec<String>),
    /// A database that the framework knows and this store does not.
    #[error("users are kept in sqlite: or postgres:// only")]
    Unknown,
    /// The database failed.
    #[error("the table `users` cannot be taken over")]
    Query(#[from] sqlx::Error),
    /// The table cannot be made.
    #[error(transparent)]
    Migrate(#[from] DatabaseError),
}

fn named(emails: &[String]) -> String {
    let more = if emails.len() > NAMED { " and more" } else { "" };
    format!("{}{more}", emails[..emails.len().min(NAMED)].join(", "))
}

/// Takes the table over in the transaction `$tx`, unless there is none, or it is in our shape.
macro_rules! take_over {
    ($tx:ident, $engine:ident) => {{
        let columns: Vec<(String, bool)> = sqlx::query_as($engine::COLUMNS).fetch_all(&mut *$tx).await?;
        if !columns.is_empty() && sqlx::query($engine::IS_OURS).fetch_optional(&mut *$tx).await?.is_none() {
            refuse_foreign(&columns)?;
            sqlx::query($engine::LOCK).execute(&mut *$tx).await?;
            if sqlx::query(WITHOUT_ID).fetch_optional(&mut *$tx).await?.is_some() {
                return Err(TakeOverError::Id(String::new()));
            }
            let (mut users, mut last) = (0, String::new());
            loop {
                let batch: Vec<(String, String)> = sqlx::query_as(BATCH).bind(&last).fetch_all(&mut *$tx).await?;
                let Some((id, _)) = batch.last() else { break };
                last.clone_from(id);
                users += batch.len();
                for (id, email) in to_fold(batch)? {
                    let update = sqlx::query(SET_EMAIL).bind(&email).bind(id).execute(&mut *$tx).await;
                    update.map_err(|error| twice_or(error, email))?;
                }
            }
            sqlx::query(NO_EMAIL).execute(&mut *$tx).await?;
            let twice: Vec<(String,)> = sqlx::query_as(TWICE).fetch_all(&mut *$tx).await?;
            if !twice.is_empty() {
                return Err(TakeOverError::Twice(twice.into_iter().map(|(email,)| email).collect()));
            }
            if sqlx::query($engine::HAS_KEY).fetch_optional(&mut *$tx).await?.is_none() {
                sqlx::query(UNIQUE_ID).execute(&mut *$tx).await?;
            }
            sqlx::query(UNIQUE_EMAIL).execute(&mut *$tx).await?;
            info!(users, "took over a table `users` that was here already");
        }
        $tx.commit().await?;
    }};
}

/// Makes the table, or takes it over; one instance at a time.
pub(super) async fn prepare(database: &Database, pool: &Pool) -> Result<(), TakeOverError> {
    match pool {
        Pool::Sqlite(pool) => {
            let mut tx = begin_immediate(pool).await?;
            take_over!(tx, sqlite);
        }
        Pool::Postgres(pool) => {
            let mut tx = pool.begin().await?;
            sqlx::query(postgres::ONE_AT_A_TIME).execute(&mut *tx).await?;
            take_over!(tx, postgres);
        }
    }
    Ok(database.migrate(&MIGRATIONS).await?)
}

fn refuse_foreign(columns: &[(String, bool)]) -> Result<(), TakeOverError> {
    let is_there = |needed: &str| columns.iter().any(|(name, is_text)| name == needed && *is_text);
    match NEEDED.into_iter().find(|needed| !is_there(needed)) {
        Some(missing) => Err(TakeOverError::Foreign(missing)),
        None => Ok(()),
    }
}

/// The rows whose e-mail is not in lower case, with the one to have.
fn to_fold(rows: Vec<(String, String)>) -> Result<Vec<(String, String)>, TakeOverError> {
    let mut changed = Vec::new();
    for (id, email) in rows {
        if !id.parse::<UserId>().is_ok_and(|known| known.to_string() == id) {
            return Err(TakeOverError::Id(id));
        }
        let folded = fold_email(&email);
        if folded != email {
            changed.push((id, folded));
        }
    }
    Ok(changed)
}

/// A table that was unique before upper and lower case became one says so itself.
fn twice_or(error: sqlx::Error, email: String) -> TakeOverError {
    match error.as_database_error() {
        Some(said) if said.is_unique_violation() => TakeOverError::Twice(vec![email]),
        _ => error.into(),
    }
}
