//! Turns at writing to a SQLite file, for the writers of one process.
//!
//! A file has one writer at a time, and SQLite lets the others poll, ever more seldom: under load one of them can be passed
//! over for seconds, with a connection of the pool in its hands. Here they queue, before they take a connection. Writers of
//! other processes are still polled for, by the first of the queue alone.

use std::{
    collections::HashMap,
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use sqlx::{Connection, SqlSafeStr, Sqlite, SqliteConnection, SqlitePool, Transaction, pool::PoolConnection};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::outbox::{InTransaction, Target};

/// A transaction that writes to a SQLite file; a drop rolls it back.
#[derive(Debug)]
pub struct WriteTransaction {
    // Before the turn, or the next one would find the file locked.
    transaction: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

/// Begins a transaction that writes.
///
/// A transaction that begins with reading fails at its first write, in spite of every timeout, when another one has written
/// since; this one waits for its turn at the beginning instead: first in, first served, as long as the pool's acquire timeout.
///
/// # Errors
/// [`sqlx::Error::PoolTimedOut`] when its turn does not come, or no connection is free, in time; SQLite's own "database is
/// locked" when a writer of another process takes longer than the connection's busy timeout, 5 s.
///
/// # Cancel safety
/// A dropped future gives its place up and has begun nothing.
pub async fn begin_immediate(pool: &SqlitePool) -> Result<WriteTransaction, sqlx::Error> {
    let turn = turn_of(pool.connect_options().get_filename());
    let turn = tokio::time::timeout(pool.options().get_acquire_timeout(), turn.lock_owned()).await;
    let turn = turn.map_err(|_| sqlx::Error::PoolTimedOut)?;
    let connection = connection_of(pool).await?;
    Ok(WriteTransaction {
        transaction: Transaction::begin(connection, Some("BEGIN IMMEDIATE".into_sql_str())).await?,
        _turn: turn,
    })
}

/// One that is in no transaction.
///
/// Where SQLite ended a transaction by itself, as it does when COMMIT finds the disk full, sqlx goes on counting it as open and
/// would begin no other on that connection.
async fn connection_of(pool: &SqlitePool) -> Result<PoolConnection<Sqlite>, sqlx::Error> {
    loop {
        let connection = pool.acquire().await?;
        if !connection.is_in_transaction() {
            return Ok(connection);
        }
        connection.close().await?;
    }
}

/// Begins a transaction where SQLite has ended this one by itself, so that sqlx is right in that there is one; whether it did.
///
/// After `ON CONFLICT ROLLBACK`, and some failures of the disk, what follows would be committed statement by statement.
///
/// # Errors
/// When it cannot be told.
pub(crate) async fn begun_anew(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    match sqlx::raw_sql("BEGIN").execute(connection).await {
        Ok(_) => Ok(true),
        // Within a transaction none can begin.
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

impl WriteTransaction {
    /// Commits it.
    ///
    /// # Errors
    /// When SQLite cannot write it; then nothing is stored.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have committed.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }

    /// Undoes it.
    ///
    /// # Errors
    /// When SQLite does not answer; the connection is closed then, which undoes it as well.
    ///
    /// # Cancel safety
    /// A dropped future rolls back as a drop does.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        begun_anew(&mut self.transaction).await?;
        self.transaction.rollback().await
    }
}

impl Deref for WriteTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for WriteTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

impl InTransaction for WriteTransaction {
    fn target(&mut self) -> Target<'_> {
        Target::Sqlite(&mut self.transaction)
    }
}

/// The turn at writing to this file; it is the same for every pool of the process.
fn turn_of(file: &Path) -> Arc<Turn<()>> {
    static TURNS: LazyLock<Mutex<HashMap<PathBuf, Weak<Turn<()>>>>> = LazyLock::new(Mutex::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(turn) = turns.get(file).and_then(Weak::upgrade) {
        return turn;
    }
    // Of files that nobody writes to now; their pools may be gone.
    turns.retain(|_, turn| turn.strong_count() > 0);
    let turn = Arc::default();
    turns.insert(file.to_owned(), Arc::downgrade(&turn));
    turn
}
