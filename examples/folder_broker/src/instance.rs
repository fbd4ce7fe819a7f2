//! One instance of a subscription: a folder in that of the subscription with what it has in hand, locked for as long as it lives.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidings_core::{Outcome, Receipt};

use crate::{
    name::{Name, now, unique},
    queue::{Queue, gone_is_empty},
};

/// An instance. It is gone when its folder's lock is.
#[derive(Debug)]
pub(crate) struct Instance {
    queue: Queue,
    folder: PathBuf,
    alive: Mutex<Option<File>>,
    /// The file of each receipt.
    in_hand: Mutex<HashMap<u64, Name>>,
    unsettled: usize,
}

impl Instance {
    /// Joins a subscription, which begins with its first instance; answers whether this is it.
    pub(crate) fn join(queue: Queue, unsettled: usize) -> io::Result<(Self, bool)> {
        let folder = queue.folder.join(unique());
        loop {
            let first = !queue.folder.exists();
            fs::create_dir_all(&queue.folder)?;
            match Self::take_seat(&queue, &folder) {
                // Somebody took the folder away since: it was empty, and nobody's yet.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
                Ok(alive) => {
                    let (alive, in_hand) = (Mutex::new(Some(alive)), Mutex::default());
                    return Ok((Self { queue, folder, alive, in_hand, unsettled }, first));
                }
            }
        }
    }

    fn take_seat(queue: &Queue, folder: &PathBuf) -> io::Result<File> {
        // Under the lock nobody takes an instance that has just come for one that is gone.
        let _locked = queue.lock()?;
        fs::create_dir(folder)?;
        let alive = File::open(folder)?;
        alive.lock()?;
        Ok(alive)
    }

    /// How many more it may have in hand.
    pub(crate) fn room(&self) -> usize {
        self.unsettled.saturating_sub(self.in_hand().len())
    }

    /// Takes up to `max` messages that are due, one after another; answers each under its old and its new name, with its content.
    pub(crate) fn claim(&self, max: usize, mut took: impl FnMut(Name, Name, Vec<u8>)) -> io::Result<()> {
        let (locked, now) = (self.queue.lock()?, now());
        for before in locked.waiting()?.into_iter().filter(|name| name.due <= now).take(max) {
            let name = Name { deliveries: before.deliveries + 1, due: 0, ..before.clone() };
            let held = self.folder.join(name.to_string());
            fs::rename(locked.path(&before), &held)?;
            took(before, name, fs::read(held)?);
        }
        Ok(())
    }

    /// What was claimed is in hand.
    pub(crate) fn hold(&self, number: u64, name: Name) {
        self.in_hand().insert(number, name);
    }

    /// What was claimed, and nobody has seen, is as it was.
    pub(crate) fn unclaim(&self, taken: &[(Name, Name)]) -> io::Result<()> {
        let locked = self.queue.lock()?;
        for (before, name) in taken {
            gone_is_empty(fs::rename(self.folder.join(name.to_string()), locked.path(before)))?;
        }
        Ok(())
    }

    /// What is not in hand any more is passed over; what fails stays in hand, to be tried again.
    pub(crate) fn settle(&self, batch: &[(Receipt, Outcome)]) -> io::Result<()> {
        let locked = self.queue.lock()?;
        for (Receipt([number, ..]), outcome) in batch {
            let Some(name) = self.in_hand().get(number).cloned() else { continue };
            let held = self.folder.join(name.to_string());
            match *outcome {
                Outcome::Ack | Outcome::Reject => fs::remove_file(held)?,
                Outcome::HandBack => fs::rename(held, locked.path(&name))?,
                Outcome::Retry { after, attempts } => {
                    let wait = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
                    fs::rename(held, locked.path(&Name { attempts, due: now().saturating_add(wait), ..name }))?;
                }
            }
            self.in_hand().remove(number);
        }
        Ok(())
    }

    /// Those that are not in hand any more.
    pub(crate) fn lost(&self, batch: &[Receipt]) -> Vec<Receipt> {
        let in_hand = self.in_hand();
        batch.iter().filter(|Receipt([number, ..])| !in_hand.contains_key(number)).copied().collect()
    }

    /// Leaves in order: what is in hand waits again at once. Safe to repeat.
    pub(crate) fn leave(&self) -> io::Result<()> {
        if self.drop_dead() {
            if self.queue.private {
                return self.queue.remove();
            }
            self.queue.lock()?.give_back(&self.folder)?;
        }
        Ok(())
    }

    /// Is gone without a word, as when its process is killed; answers whether it was there. The others find out.
    pub(crate) fn drop_dead(&self) -> bool {
        self.in_hand().clear();
        let alive = self.alive.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A process that is being started has a copy of the file for a moment: closing ours would not be enough.
        alive.is_some_and(|alive| alive.unlock().is_ok())
    }

    /// Undoes a first join of whom nobody wants to know any more. A folder that is not empty stays.
    pub(crate) fn undo(&self) {
        let _ = fs::remove_dir(&self.folder).and_then(|()| fs::remove_dir(&self.queue.folder));
    }

    fn in_hand(&self) -> MutexGuard<'_, HashMap<u64, Name>> {
        self.in_hand.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
