//! One at a time for each key: those that come at once in one process wait for each other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

type Turn = Arc<tokio::sync::Mutex<()>>;

/// The keys that are in hand. It holds one entry for each handler that runs or waits, so it is as bounded as they are.
#[derive(Debug, Default)]
pub(super) struct Turns {
    turns: Mutex<HashMap<String, Turn>>,
}

/// A key's turn; dropping it lets the next one go on.
#[derive(Debug)]
pub(super) struct Held<'a> {
    all: &'a Turns,
    key: String,
    turn: Turn,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody else has this key.
    ///
    /// # Cancel safety
    /// A dropped wait leaves nothing behind.
    pub(super) async fn take(&self, key: String) -> Held<'_> {
        let turn = Turn::clone(self.turns().entry(key.clone()).or_default());
        // Made before the wait, so that a wait that is given up is cleaned away too.
        let mut held = Held { all: self, key, turn, guard: None };
        held.guard = Some(Turn::clone(&held.turn).lock_owned().await);
        held
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<String, Turn>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut turns = self.all.turns();
        self.guard = None;
        // Nobody but the map and this one: turns are only handed out under the lock that is held here.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use super::*;

    async fn is_pending(future: impl Future) -> bool {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn one_key_waits_and_another_does_not() {
        let all = Turns::default();
        let ada = all.take("ada".into()).await;
        assert!(is_pending(all.take("ada".into())).await);
        assert!(!is_pending(all.take("grace".into())).await);
        drop(ada);
        assert!(!is_pending(all.take("ada".into())).await);
    }

    #[tokio::test]
    async fn nothing_is_left_behind() {
        let all = Turns::default();
        let ada = all.take("ada".into()).await;
        let mut waiting = Box::pin(all.take("ada".into()));
        assert!(is_pending(&mut waiting).await);
        drop(ada);
        drop(waiting);
        drop(all.take("ada".into()).await);
        assert!(all.turns().is_empty());
    }
}
