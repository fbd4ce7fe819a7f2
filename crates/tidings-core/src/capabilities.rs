//! What an engine can do, so that the framework supplies the rest or refuses at start.

use std::time::{Duration, SystemTime};

use crate::{Message, PublishError};

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
    /// The longest that a message may be held back when it is published ([`Message::due`]), in whole seconds as a rule; zero: it
    /// cannot be, and publishing one is refused ([`Capabilities::check_due`]).
    ///
    /// A message that is held back is published when it is due: every group gets it that is there then, and of its key it is
    /// the latest. It takes up room before.
    pub longest_delay: Duration,
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
            longest_delay: Duration::ZERO,
            deduplication: false,
            attempt_counts: false,
            earliest_start: EarliestStart::Now,
            retention: Duration::ZERO,
            max_message: 1024 * 1024,
            max_unsettled: 65_535,
        }
    }
}

impl Capabilities {
    /// Whether a message may be published to this broker as late as it is [due](Message::due).
    ///
    /// The framework asks before it publishes or stores anything; a broker asks again for those who use it directly.
    ///
    /// # Errors
    /// When it is due later than now, and the broker cannot hold messages back at all, or not for so long.
    #[inline]
    pub fn check_due(&self, broker: &'static str, message: &Message) -> Result<(), PublishError> {
        match message.due() {
            None => Ok(()),
            Some(due) => self.check_delay(broker, due.duration_since(SystemTime::now()).unwrap_or_default()),
        }
    }

    fn check_delay(&self, broker: &'static str, delay: Duration) -> Result<(), PublishError> {
        let limit = self.longest_delay;
        if delay <= limit {
            Ok(())
        } else if limit.is_zero() {
            Err(PublishError::Unsupported {
                broker,
                capability: "hold a message back until it is due",
                instead: "publish it when it is due, or use a broker that can, such as sqlite:PATH",
            })
        } else {
            // What was asked for, before some of it passed.
            let delay = Duration::from_secs(delay.as_secs().saturating_add((delay.subsec_millis() >= 500).into()));
            Err(PublishError::DelayTooLong { broker, delay, limit })
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Source, Topic};

    #[test]
    fn a_delay_is_refused_with_the_way_out() {
        let after = |wait: Duration| {
            let message = Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), Bytes::new());
            message.due(SystemTime::now() + wait).build()
        };
        let none = Capabilities::default();
        let hour = Capabilities { longest_delay: Duration::from_secs(3_600), ..none };
        assert!(hour.check_due("memory", &after(Duration::from_secs(3_600))).is_ok());
        // What was due when it was stored may be late by now.
        assert!(none.check_due("nats", &after(Duration::ZERO)).is_ok());
        let told = none.check_due("nats", &after(Duration::from_secs(9))).unwrap_err().to_string();
        assert!(told.contains("nats cannot hold a message back") && told.contains("sqlite:PATH"), "{told}");
        let told = hour.check_due("memory", &after(Duration::from_secs(7_200))).unwrap_err();
        assert!(!told.is_transient() && told.to_string().contains("a delay of 2h is too long; memory holds"), "{told}");
    }
}
