//! Who has the file open: each holds the OS lock of a file of its own beside the database.
//!
//! The kernel frees the lock with its process, however that ends; so whoever can take it has found the owner dead. No
//! lease, no clock, and a stopped process is not a dead one. Lock files are made and removed within a transaction that
//! writes, of which there is one at a time: nobody can find one half made.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use sqlx::{Connection, SqliteConnection};
use tidings_core::Client;

/// This opening's own lock; freed when dropped.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) id: i64,
    path: PathBuf,
    _lock: File,
}

impl Owner {
    /// Registers in a transaction of its own.
    pub(super) async fn register_alone(
        connection: &mut SqliteConnection,
        database: &Path,
        client: &Client,
    ) -> Result<Self, sqlx::Error> {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let owner = Self::register(&mut transaction, database, client).await?;
        transaction.commit().await?;
        Ok(owner)
    }

    /// Registers, within the caller's transaction.
    pub(super) async fn register(
        connection: &mut SqliteConnection,
        database: &Path,
        client: &Client,
    ) -> Result<Self, sqlx::Error> {
        let id = sqlx::query_scalar("INSERT INTO owner (service, instance) VALUES (?, ?) RETURNING id")
            .bind(client.service.as_str())
            .bind(client.instance.as_str())
            .fetch_one(connection)
            .await?;
        let path = lock_path(database, id);
        let lock = OpenOptions::new().create(true).truncate(true).write(true).open(&path)?;
        lock.try_lock().map_err(io::Error::from)?;
        Ok(Self { id, path, _lock: lock })
    }

    /// Ends it, after its row has been deleted.
    pub(super) fn end(self) {
        // One that stays is an empty file that the next owner of that number takes over.
        let _ = fs::remove_file(&self.path);
    }
}

/// A dead owner, which stays so for as long as this is held.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) id: i64,
    path: PathBuf,
    _lock: Option<File>,
}

impl Dead {
    /// Whether that owner is dead. In doubt it is not.
    pub(super) fn find(database: &Path, id: i64) -> Option<Self> {
        let path = lock_path(database, id);
        let lock = match File::open(&path) {
            Ok(file) => match file.try_lock() {
                Ok(()) => Some(file),
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => return None,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return None,
        };
        Some(Self { id, path, _lock: lock })
    }

    /// Removes its lock file, after its row has been deleted.
    pub(super) fn bury(self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn lock_path(database: &Path, id: i64) -> PathBuf {
    let mut path = OsString::from(database);
    path.push(format!("-owner-{id}"));
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_its_lock_is_alive() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("b.db");
        let lock = File::create(lock_path(&database, 1)).unwrap();
        lock.lock().unwrap();
        assert!(Dead::find(&database, 1).is_none());
        drop(lock);
        Dead::find(&database, 1).unwrap().bury();
        assert!(!lock_path(&database, 1).exists());
        assert!(Dead::find(&database, 2).is_some());
    }
}
