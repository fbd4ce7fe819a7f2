//! What a test waited for in vain.

use std::{fmt, time::Duration};

use tidings::BoxError;

use super::{Attempt, Outcome};

/// What a test waited for did not happen, and what did.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum NotSeen {
    /// Nothing of that kind within the time.
    #[error("no event of {topic} was {what} within {patience:?}; {}", Instead(attempts))]
    InTime {
        /// The event's topic.
        topic: &'static str,
        /// What was waited for.
        what: &'static str,
        /// How long.
        patience: Duration,
        /// The attempts at events of that topic.
        attempts: Vec<Attempt>,
    },
    /// It happened to a message that is not such an event.
    #[error("a message on {topic} is not the event that the test asks for")]
    Undecodable {
        /// The event's topic.
        topic: &'static str,
        /// What the format said.
        source: BoxError,
    },
}

/// `unwrap` prints Debug: it is to be read.
impl fmt::Debug for NotSeen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)?;
        if let Self::Undecodable { source, .. } = self {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

struct Instead<'a>(&'a [Attempt]);

impl fmt::Display for Instead<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no attempt ended: was it published, and is there a handler of its topic?");
        }
        f.write_str("what happened:")?;
        for Attempt { group, number, outcome, .. } in self.0 {
            write!(f, " {group} attempt {number}")?;
            match outcome {
                Outcome::Handled => write!(f, " handled;")?,
                Outcome::Failed { error, wait } => write!(f, " failed ({error}), another after {wait:?};")?,
                Outcome::GivenUp { error } => write!(f, " failed ({error}), given up;")?,
            }
        }
        Ok(())
    }
}
