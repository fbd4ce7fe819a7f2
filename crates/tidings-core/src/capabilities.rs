//! What an engine can do, so that the framework supplies the rest or refuses at start.

use std::time::Duration;

/// What a broker can do.
///
/// The default is the least: nothing kept, no groups, no order. A broker sets what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Messages wait for a group whose instances are all away.
    pub durable: bool,
    /// Instances of one group share the messages.
    pub groups: bool,
    /// Patterns with `*` and `>`.
    pub wildcards: bool,
    /// How far the order of a key reaches.
    pub key_order: KeyOrder,
    /// How a retry with a wait is done.
    pub delay: Delay,
    /// A second publish of one message is recognised.
    pub deduplication: bool,
    /// Ended attempts are known to whoever gets the message next.
    pub attempt_counts: bool,
    /// Where a new group can begin.
    pub earliest_start: EarliestStart,
    /// How long a message stays for groups that have not handled it; [`Duration::MAX`] for ever.
    pub retention: Duration,
    /// The largest message of an event, attributes and headers included, in bytes. Its dead letter may have 8 KiB more.
    pub max_message: usize,
    /// The most deliveries that may be unsettled at once in one subscription.
    pub max_unsettled: usize,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            durable: false,
            groups: false,
            wildcards: false,
            key_order: KeyOrder::None,
            delay: Delay::None,
            deduplication: false,
            attempt_counts: false,
            earliest_start: EarliestStart::Now,
            retention: Duration::ZERO,
            max_message: 1024 * 1024,
            max_unsettled: 65_535,
        }
    }
}

/// How far the order of a key reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyOrder {
    /// Not even the deliveries to one instance are in order.
    None,
    /// Within one instance.
    Instance,
    /// Across all instances of a group.
    Group,
}

/// How a message that is to come again later waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// It cannot: the framework keeps it in the process.
    None,
    /// The engine delivers it again after the wait.
    Native,
    /// The broker stores it elsewhere and brings it back.
    Stored,
}

/// The earliest message that a new group can get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EarliestStart {
    /// Only what is published after it subscribed.
    Now,
    /// The first message that is kept.
    First,
}
