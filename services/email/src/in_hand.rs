//! One event of a user at a time: two that come at once in one process wait for each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Turn = Arc<tokio::sync::Mutex<()>>;

/// The users whose events are in hand. It holds one entry for each handler that runs or waits, so it is as bounded as they are.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    turns: Mutex<HashMap<String, Turn>>,
}

/// A user's turn; dropping it lets the next event of that user go on.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    all: &'a InHand,
    user: &'a str,
    turn: Turn,
    guard: Option<OwnedMutexGuard<()>>,
}

impl InHand {
    /// Waits until no other event of `user` is in hand.
    ///
    /// # Cancel safety
    /// A dropped wait leaves nothing behind.
    pub(crate) async fn take<'a>(&'a self, user: &'a str) -> Held<'a> {
        let turn = Turn::clone(self.turns().entry(user.to_owned()).or_default());
        // Made before the wait, so that a wait that is given up is cleaned away too.
        let mut held = Held { all: self, user, turn, guard: None };
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
            turns.remove(self.user);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use super::*;

    async fn is_pending(future: impl Future) -> bool {
        let mut future = pin!(future);
        std::future::poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
    }

    #[tokio::test]
    async fn one_user_waits_and_another_does_not() {
        let all = InHand::default();
        let ada = all.take("ada").await;
        assert!(is_pending(all.take("ada")).await);
        assert!(!is_pending(all.take("grace")).await);
        drop(ada);
        assert!(!is_pending(all.take("ada")).await);
    }

    #[tokio::test]
    async fn nothing_is_left_behind() {
        let all = InHand::default();
        let ada = all.take("ada").await;
        let mut waiting = Box::pin(all.take("ada"));
        assert!(is_pending(&mut waiting).await);
        drop(ada);
        drop(waiting);
        drop(all.take("ada").await);
        assert!(all.turns().is_empty());
    }
}
