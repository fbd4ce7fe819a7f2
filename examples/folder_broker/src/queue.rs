//! The folder of one subscription, `<root>/<group>/<pattern>`: its files are messages that wait, and the folders in it are
//! instances with what they have in hand.
//!
//! Whoever changes or reads it holds its lock, for a listing that is made while files come may show a later one without an
//! earlier one. Both locks, that of a subscription and that of an instance, are the operating system's: they end with their
//! process, however it ends.

use std::{
    fs::{self, File, TryLockError},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use tidings_core::TopicPattern;

use crate::name::Name;

/// The folder of a subscription.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) folder: PathBuf,
    pub(crate) pattern: TopicPattern,
    /// That of one instance alone (`Members::Each`), which ends with it.
    pub(crate) private: bool,
}

/// The folder of a subscription while nobody else changes it.
pub(crate) struct Locked<'a> {
    queue: &'a Queue,
    _lock: File,
}

impl Queue {
    /// The subscription of a group; with an instance's name, its own. A group's name has no dots.
    pub(crate) fn new(root: &Path, group: &str, instance: Option<&str>, pattern: TopicPattern) -> Self {
        let group = instance.map_or_else(|| group.to_owned(), |instance| format!("{group}.{instance}"));
        Self { folder: root.join(group).join(pattern.as_str()), pattern, private: instance.is_some() }
    }

    /// All that there are.
    pub(crate) fn all(root: &Path) -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for group in entries(root)? {
            let private = group.file_name().as_encoded_bytes().contains(&b'.');
            for pattern in gone_is_empty(entries(&group.path()))? {
                let folder = pattern.path();
                let name = folder.file_name().unwrap_or_default().to_string_lossy();
                if let Ok(pattern) = TopicPattern::new(&name) {
                    all.push(Self { pattern, private, folder });
                }
            }
        }
        Ok(all)
    }

    pub(crate) fn lock(&self) -> io::Result<Locked<'_>> {
        let lock = File::open(&self.folder)?;
        lock.lock()?;
        Ok(Locked { queue: self, _lock: lock })
    }

    /// For whoever publishes; `None` when it is not there any more. A private one ends with its instance.
    pub(crate) fn lock_if_there(&self) -> io::Result<Option<Locked<'_>>> {
        let locked = gone_is_empty(self.lock().map(Some))?;
        match locked {
            Some(locked) if self.private && !locked.is_in_use()? => self.remove().map(|()| None),
            locked => Ok(locked),
        }
    }

    /// Everything of it, for one that ended with its instance.
    pub(crate) fn remove(&self) -> io::Result<()> {
        gone_is_empty(fs::remove_dir_all(self.folder.parent().unwrap_or(&self.folder)))
    }
}

impl Locked<'_> {
    /// Where a message waits.
    pub(crate) fn path(&self, name: &Name) -> PathBuf {
        self.queue.folder.join(name.to_string())
    }

    /// Adds a message. Its file has its name when it is whole.
    pub(crate) fn put(&self, content: &[u8]) -> io::Result<()> {
        let path = self.path(&Name::new());
        let unfinished = self.queue.folder.join(UNFINISHED);
        fs::write(&unfinished, content)?;
        fs::rename(unfinished, path)
    }

    /// What waits, in order. What instances had that are gone, waits again.
    pub(crate) fn waiting(&self) -> io::Result<Vec<Name>> {
        let mut waiting = Vec::new();
        for entry in entries(&self.queue.folder)? {
            if !entry.file_type()?.is_dir() {
                waiting.extend(Name::parse(&entry.file_name().to_string_lossy()));
            } else if !is_alive(&entry.path())? {
                waiting.extend(self.give_back(&entry.path())?);
            }
        }
        waiting.sort_unstable();
        Ok(waiting)
    }

    /// Whether an instance is there.
    fn is_in_use(&self) -> io::Result<bool> {
        for entry in entries(&self.queue.folder)? {
            if entry.file_type()?.is_dir() && is_alive(&entry.path())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends an instance: what it had in hand waits again.
    pub(crate) fn give_back(&self, instance: &Path) -> io::Result<Vec<Name>> {
        let mut names = Vec::new();
        for held in gone_is_empty(entries(instance))? {
            fs::rename(held.path(), self.queue.folder.join(held.file_name()))?;
            names.extend(Name::parse(&held.file_name().to_string_lossy()));
        }
        gone_is_empty(fs::remove_dir(instance))?;
        Ok(names)
    }
}

/// The file of a message that is being written. One that a killed publisher left is written over by the next.
const UNFINISHED: &str = ".unfinished";

fn entries(folder: &Path) -> io::Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder)?.collect()
}

fn is_alive(instance: &Path) -> io::Result<bool> {
    match File::open(instance)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// What somebody else has taken away meanwhile has nothing in it.
pub(crate) fn gone_is_empty<T: Default>(found: io::Result<T>) -> io::Result<T> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        found => found,
    }
}
