//! Whose turn it is to write.
//!
//! SQLite has one writer at a time, and lets the others look again after sleeps that grow to 100 ms: with a dozen processes
//! one of them may never be lucky. So writers wait for an OS lock first, whose waiters the kernel wakes at once. SQLite's
//! own lock is still what keeps the file whole.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions, TryLockError},
    io,
    path::Path,
    sync::Arc,
    thread,
};

use tokio::{sync::oneshot, time::timeout};

use super::BUSY_TIMEOUT;

#[derive(Debug)]
pub(super) struct Pen {
    file: Arc<File>,
    /// A thread that waits for the lock; it goes on when its caller has lost patience, and keeps no process from ending.
    waiting: Option<oneshot::Receiver<io::Result<()>>>,
}

impl Pen {
    pub(super) fn of(database: &Path) -> io::Result<Self> {
        let mut path = OsString::from(database);
        path.push("-lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        Ok(Self { file: Arc::new(file), waiting: None })
    }

    /// Waits for the turn.
    ///
    /// # Cancel safety
    /// The turn may come all the same; the next call has it then.
    pub(super) async fn take(&mut self) -> Result<(), sqlx::Error> {
        if self.waiting.is_none() {
            match self.file.try_lock() {
                Ok(()) => return Ok(()),
                Err(TryLockError::Error(error)) => return Err(error.into()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let waiting = match &mut self.waiting {
            Some(waiting) => waiting,
            None => self.waiting.insert(wait(Arc::clone(&self.file))?),
        };
        let Ok(done) = timeout(BUSY_TIMEOUT, waiting).await else {
            return Err(io::Error::from(io::ErrorKind::ResourceBusy).into());
        };
        self.waiting = None;
        done.map_err(io::Error::other)?.map_err(sqlx::Error::Io)
    }

    pub(super) fn give(&self) {
        if let Err(error) = self.file.unlock() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the lock of the broker's file cannot be freed");
        }
    }
}

fn wait(file: Arc<File>) -> io::Result<oneshot::Receiver<io::Result<()>>> {
    let (locked, waiting) = oneshot::channel();
    thread::Builder::new().name("tidings-sqlite-lock".to_owned()).spawn(move || {
        if let Err(Ok(())) = locked.send(file.lock()) {
            // Nobody wants the turn any more; the file may still be open elsewhere.
            let _ = file.unlock();
        }
    })?;
    Ok(waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_writes_at_a_time_and_whoever_waits_is_next() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let (mut one, mut other) = (Pen::of(&file).unwrap(), Pen::of(&file).unwrap());
        one.take().await.unwrap();
        assert!(timeout(std::time::Duration::from_millis(20), other.take()).await.is_err());
        one.give();
        other.take().await.unwrap();
        let given_up = one.take().await.unwrap_err();
        assert!(matches!(&given_up, sqlx::Error::Io(error) if error.kind() == io::ErrorKind::ResourceBusy), "{given_up}");
        other.give();
        one.take().await.unwrap();
    }
}
