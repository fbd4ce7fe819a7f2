//! Why a subscription does not start.

use std::time::Duration;

use tidings_core::{BrokerError, TopicPattern};

use super::policy;

/// Why a handler could not be subscribed; names it, and the way out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubscribeError {
    /// The broker cannot be reached, or cannot do what the handler asks for.
    #[error("handler {handler} cannot subscribe to {pattern}")]
    Broker {
        handler: &'static str,
        pattern: TopicPattern,
        #[source]
        source: BrokerError,
    },
    /// Waits that hold up a key for too long.
    #[error(
        "handler {handler} keeps the order of each key of {pattern}, but the waits of its retry policy add up to {waits:?}, \
         for which a failing message would hold up its key: give it `.order(Order::None)`, so that others of its key overtake \
         it, or a policy whose waits add up to at most {:?}",
        policy::LONGEST_ORDERED
    )]
    LongWaits { handler: &'static str, pattern: TopicPattern, waits: Duration },
    /// More would be in hand than the engine lets out.
    #[error("in_flight {in_flight} and parked {parked} are together more than {broker} lets one subscription hold: {most}")]
    TooMany { in_flight: usize, parked: usize, broker: &'static str, most: usize },
}

impl SubscribeError {
    /// Whether the same may succeed later.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Broker { source, .. } if source.is_transient())
    }
}
