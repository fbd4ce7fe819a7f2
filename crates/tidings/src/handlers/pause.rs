//! Subscriptions that can be paused.

use std::sync::Arc;

use tokio::sync::watch;

/// Pauses subscriptions, and lets them go on: a switch that handlers are given with `.pausable(&pause)`.
///
/// While it is paused an instance fetches nothing more. What it has in hand is finished, attempts that follow a failure included;
/// what is published waits at the broker, or goes to other instances of the group. Clones are the same switch.
///
/// ```
/// use tidings::{Handler, Handlers, handlers::Pause};
/// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created")]
/// # struct UserCreated {}
/// # async fn welcome(user: UserCreated) {}
///
/// let provider_is_down = Pause::new();
/// let handlers: Handlers = Handlers::new().on(welcome.pausable(&provider_is_down));
/// provider_is_down.pause();
/// assert!(provider_is_down.is_paused());
/// provider_is_down.resume();
/// ```
#[derive(Debug, Clone)]
pub struct Pause(Arc<watch::Sender<bool>>);

impl Pause {
    /// One that is not paused.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    /// Pauses.
    pub fn pause(&self) {
        self.0.send_replace(true);
    }

    /// Goes on.
    pub fn resume(&self) {
        self.0.send_replace(false);
    }

    /// Whether it is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        *self.0.borrow()
    }

    /// What tells of changes.
    pub(crate) fn changes(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

impl Default for Pause {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for Pause {
    /// Whether both are one switch.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
