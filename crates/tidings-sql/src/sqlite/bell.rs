//! How the openings of one file within one process wake each other at once.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak},
};

use tokio::sync::watch;

/// The bells of this process, by file.
static BELLS: LazyLock<Mutex<HashMap<PathBuf, Weak<watch::Sender<u64>>>>> = LazyLock::new(Mutex::default);

/// Counts what any opening wrote, and knows what it wrote itself.
#[derive(Debug)]
pub(super) struct Bell {
    count: Arc<watch::Sender<u64>>,
    ear: watch::Receiver<u64>,
    heard: u64,
}

impl Bell {
    pub(super) fn of(file: &Path) -> Self {
        let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
        let mut bells = BELLS.lock().unwrap_or_else(PoisonError::into_inner);
        bells.retain(|_, bell| bell.strong_count() > 0);
        let count = bells.get(&file).and_then(Weak::upgrade).unwrap_or_default();
        bells.insert(file, Arc::downgrade(&count));
        let ear = count.subscribe();
        let heard = *ear.borrow();
        Self { count, ear, heard }
    }

    /// Tells the others.
    pub(super) fn ring(&mut self) {
        self.count.send_modify(|count| *count += 1);
        self.heard += 1;
    }

    /// Waits until anybody rings.
    pub(super) async fn rung(&mut self) {
        // It cannot end: the other end is held here.
        let _ = self.ear.changed().await;
    }

    /// Whether somebody else has rung since this was asked last.
    pub(super) fn has_news(&mut self) -> bool {
        let count = *self.ear.borrow_and_update();
        count != std::mem::replace(&mut self.heard, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn others_hear_it_and_oneself_does_not() {
        let file = PathBuf::from("a.db");
        let (mut one, mut other, mut apart) = (Bell::of(&file), Bell::of(&file), Bell::of(Path::new("b.db")));
        one.ring();
        other.rung().await;
        assert!((!one.has_news()) && other.has_news() && !apart.has_news());
        other.ring();
        one.ring();
        assert!(one.has_news() && other.has_news());
        assert!(!one.has_news() && !other.has_news());
    }
}
