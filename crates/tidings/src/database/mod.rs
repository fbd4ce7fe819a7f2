//! The service's own database: opened by URL, waited for at start, its tables made and changed in steps.
//!
//! Here: [`Database`], how one is opened, and [`Migrations`]. Not here: any table of ours (the outbox has its own), and any
//! query builder; services write SQL with sqlx.

#![cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, unused_variables, reason = "what only the other database uses")
)]

mod error;
mod migrate;
mod open;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod writing;

use std::sync::Arc;

pub use error::DatabaseError;
pub use migrate::Migrations;
pub use open::DatabaseOptions;
#[cfg(feature = "sqlite")]
pub(crate) use writing::begun_anew;
#[cfg(feature = "sqlite")]
pub use writing::{WriteTransaction, begin_immediate};

/// A pool of connections to one of the databases that a service can keep its state in; clones are cheap.
///
/// A service that has a pool of its own makes one of it: `Database::from(pool)`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Database {
    /// A SQLite file.
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    /// A Postgres server.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for Database {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::Sqlite(pool)
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for Database {
    fn from(pool: sqlx::PgPool) -> Self {
        Self::Postgres(pool)
    }
}

impl Database {
    /// Whether both are one pool.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(one), Self::Sqlite(other)) => Arc::ptr_eq(&one.connect_options(), &other.connect_options()),
            #[cfg(feature = "postgres")]
            (Self::Postgres(one), Self::Postgres(other)) => Arc::ptr_eq(&one.connect_options(), &other.connect_options()),
            #[cfg(all(feature = "postgres", feature = "sqlite"))]
            _ => false,
        }
    }

    /// Closes the pool; connections in use are waited for.
    pub async fn close(&self) {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.close().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// When no connection is free in time, or the database does not answer.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => sqlx::query("SELECT 1").execute(pool).await.map(drop)?,
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => sqlx::query("SELECT 1").execute(pool).await.map(drop)?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
