//! What can go wrong with a broker, one type a family of calls.

use std::time::Duration;

use crate::{BoxError, InvalidName, url::Time};

/// Why a broker could not be opened, subscribed to, read or settled with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The engine cannot be reached, or did not answer; trying again may help.
    #[error("{broker} is not available")]
    Unavailable {
        /// Which broker, without secrets.
        broker: String,
        /// What the client said.
        #[source]
        source: BoxError,
    },
    /// The engine said no, and will say so again.
    #[error("{broker} refused: {reason}")]
    Refused {
        /// Which broker, without secrets.
        broker: String,
        /// What it said, and what to do.
        reason: String,
    },
    /// The URL or a setting in it is wrong.
    #[error("broker URL {url}: {reason}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it, and what is allowed.
        reason: String,
    },
    /// Something was asked for that this engine cannot do.
    #[error("{broker} cannot {capability}; {instead}")]
    Unsupported {
        /// Which broker.
        broker: &'static str,
        /// What it cannot do.
        capability: &'static str,
        /// What to use instead.
        instead: &'static str,
    },
    /// A name that the engine cannot take.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The broker, or this subscription, was closed.
    #[error("{broker} is closed")]
    Closed {
        /// Which broker.
        broker: &'static str,
    },
    /// What is stored there is not what this version can read.
    #[error("{place} is damaged or not ours: {reason}")]
    Corrupt {
        /// The file or object.
        place: String,
        /// What was found, and what to do.
        reason: String,
    },
}

impl BrokerError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// Why one message was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It is over the engine's limit.
    #[error("message of {size} bytes on {topic} is too large: the limit is {limit} bytes")]
    TooLarge {
        /// Its topic.
        topic: String,
        /// Its size, attributes and headers included.
        size: usize,
        /// What the engine takes.
        limit: usize,
    },
    /// The engine cannot be reached, did not answer, or is full; trying again may help.
    #[error("not published: the broker is not available")]
    Unavailable(#[source] BoxError),
    /// The engine said no, and will say so again.
    #[error("not published: the broker refused: {0}")]
    Refused(String),
    /// Something was asked for that this broker cannot do: nothing was sent or stored, and it will say so again.
    #[error("not published: {broker} cannot {capability}; {instead}")]
    Unsupported {
        /// Which broker.
        broker: &'static str,
        /// What it cannot do.
        capability: &'static str,
        /// What to use instead.
        instead: &'static str,
    },
    /// It was to be held back for longer than this broker holds messages back: nothing was sent or stored.
    #[error("not published: a delay of {} is too long; {broker} holds a message back for {} at most, keep what is for later in a table of your own", Time(*.delay), Time(*.limit))]
    DelayTooLong {
        /// Which broker.
        broker: &'static str,
        /// What was asked for, from now on.
        delay: Duration,
        /// What it can do: [`Capabilities::longest_delay`](crate::Capabilities::longest_delay).
        limit: Duration,
    },
    /// The topic, key or a header cannot be sent.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The event could not be written as a body.
    #[error("event on {topic} could not be encoded")]
    Encode {
        /// Its topic.
        topic: &'static str,
        /// What the format said.
        #[source]
        source: BoxError,
    },
    /// The outbox row could not be written, since another transaction was in the way: run the whole transaction again.
    #[error("not published: another transaction was in the way; run this one again")]
    Conflict(#[source] BoxError),
    /// The outbox row could not be written.
    #[error("not published: the outbox could not be written")]
    Outbox(#[source] BoxError),
    /// The broker was closed.
    #[error("not published: the broker is closed")]
    Closed,
}

impl PublishError {
    /// Whether the same message may be taken later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Conflict(_) | Self::Closed)
    }
}

/// Exactly the messages of a batch that were not taken, by their place in it; all others were.
#[derive(Debug, thiserror::Error)]
#[error("{} of a batch were not published, the first: {}", .0.len(), First(.0))]
pub struct PublishFailures(Vec<(usize, PublishError)>);

struct First<'a>(&'a [(usize, PublishError)]);

impl std::fmt::Display for First<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.first().map_or(Ok(()), |(_, error)| error.fmt(f))
    }
}

impl PublishFailures {
    /// `Ok` when there are none.
    ///
    /// # Errors
    /// When there are some: they are the error.
    pub fn check(failed: Vec<(usize, PublishError)>) -> Result<(), Self> {
        if failed.is_empty() { Ok(()) } else { Err(Self(failed)) }
    }

    /// None of the `count` messages was taken, each for the reason that `why` makes.
    #[must_use]
    pub fn all(count: usize, why: impl Fn() -> PublishError) -> Self {
        Self((0..count).map(|place| (place, why())).collect())
    }

    /// The places in the batch, rising, and why.
    #[must_use]
    pub fn failed(&self) -> &[(usize, PublishError)] {
        &self.0
    }

    /// The places in the batch, rising, and why.
    #[must_use]
    pub fn into_failed(self) -> Vec<(usize, PublishError)> {
        self.0
    }
}

impl From<PublishFailures> for PublishError {
    /// For a batch of one.
    fn from(failures: PublishFailures) -> Self {
        failures.0.into_iter().next().map_or(Self::Closed, |(_, error)| error)
    }
}
