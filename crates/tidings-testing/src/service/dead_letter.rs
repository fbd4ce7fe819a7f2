//! A message that was given up.

use tidings::{Event, Message};

use super::NotSeen;

/// A message that was given up, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter(pub(super) Message);

impl DeadLetter {
    /// The event in it.
    ///
    /// # Errors
    /// When its body is not such an event.
    pub fn event<E: Event>(&self) -> Result<E, NotSeen> {
        E::from_message(&self.0).map_err(|source| NotSeen::Undecodable { topic: E::TOPIC, source })
    }

    /// The message as it lies among the dead letters: the original's id, headers and body, on `dead.<group>.<topic>`.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.0
    }

    /// Why: `failed`, `rejected`, `panicked`, `timed-out` or `no-outcome`.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.header("tidings-reason")
    }

    /// The last attempt's error and its causes, in one line.
    #[must_use]
    pub fn error(&self) -> &str {
        self.header("tidings-error")
    }

    /// The group that gave it up.
    #[must_use]
    pub fn group(&self) -> &str {
        self.header("tidings-group")
    }

    /// How many attempts failed.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.header("tidings-attempts").parse().unwrap_or_default()
    }

    fn header(&self, name: &str) -> &str {
        self.0.headers().get(name).unwrap_or_default()
    }
}
