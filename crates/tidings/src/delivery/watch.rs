//! Looking on while messages are handled: what tests are told.

use std::time::Duration;

use tidings_core::{GroupName, Message};
use tokio::time::Instant;

/// Is told of every attempt that ended.
#[diagnostic::on_unimplemented(message = "`{Self}` cannot look on at deliveries")]
pub trait Watch: Send + Sync {
    /// An attempt ended.
    fn ended(&self, attempt: &Attempt<'_>);
}

/// An attempt that ended.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The message.
    pub message: &'a Message,
    /// Whose attempt it was.
    pub group: &'a GroupName,
    /// Which one, as far as is known; the first is 1.
    pub number: u32,
    /// When it ended, by the service's clock.
    pub at: Instant,
    /// How it ended.
    pub ended: Ended<'a>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum Ended<'a> {
    /// The handler succeeded.
    Handled,
    /// It failed, and another attempt follows.
    Failed {
        /// The error and its causes, in one line.
        error: &'a str,
        /// How long after.
        wait: Duration,
    },
    /// It failed, and the message is given up.
    GivenUp {
        /// The error and its causes, in one line.
        error: &'a str,
    },
}
