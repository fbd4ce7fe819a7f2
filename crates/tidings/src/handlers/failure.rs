//! How a handler says that it failed.

use std::{error::Error, fmt, iter::successors, time::Duration};

use tidings_core::BoxError;

use super::batch::SharedFailure;
use crate::error::chain;

/// A failed attempt: any error, and what is to follow.
///
/// `?` makes one from any error, which means another attempt by the subscription's retry policy; [`Reject::reject`] makes one
/// that goes to the dead letters at once. It is not an [`std::error::Error`] itself, so that `?` takes everything that is.
pub struct Failure {
    error: BoxError,
    verdict: Verdict,
}

/// What is to follow a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Another attempt, when the policy says.
    Retry,
    /// Another attempt, not before this; it counts as any other.
    RetryAfter(Duration),
    /// No other attempt: to the dead letters.
    Reject,
}

impl Failure {
    /// A failure that no other attempt can mend.
    pub fn reject(error: impl Into<BoxError>) -> Self {
        Self { error: error.into(), verdict: Verdict::Reject }
    }

    /// A failure after which the next attempt comes not earlier than `wait`.
    pub fn retry_after(error: impl Into<BoxError>, wait: Duration) -> Self {
        Self { error: error.into(), verdict: Verdict::RetryAfter(wait) }
    }

    /// The same as an error, for the layers of tower; made a failure again, it still says what is to follow.
    #[must_use]
    pub fn into_error(self) -> BoxError {
        match self.verdict {
            Verdict::Retry => self.error,
            Verdict::RetryAfter(_) | Verdict::Reject => Box::new(Carried(self)),
        }
    }

    pub(super) fn with(error: BoxError, verdict: Verdict) -> Self {
        Self { error, verdict }
    }

    /// The same for several messages.
    pub(super) fn shared(self) -> SharedFailure {
        SharedFailure::new(self.error.into(), self.verdict)
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.verdict
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into().downcast::<Carried>() {
            Ok(carried) => carried.0,
            Err(error) => Self { verdict: carried_verdict(&*error), error },
        }
    }
}

/// A failure on its way through layers that pass on nothing but errors.
#[derive(Debug)]
struct Carried(Failure);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.error.fmt(f)
    }
}

impl Error for Carried {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.error.source()
    }
}

/// What the failure among an error's causes says, when there is one.
fn carried_verdict(error: &(dyn Error + 'static)) -> Verdict {
    let mut causes = successors(error.source(), |&error| error.source());
    let carried = causes.find_map(|cause| cause.downcast_ref::<Carried>());
    carried.map_or(Verdict::Retry, |carried| carried.0.verdict)
}

impl fmt::Display for Failure {
    /// The error and its causes, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(&*self.error))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.verdict)
    }
}

/// Says of a result's error what is to follow, where a bare `?` would mean another attempt.
///
/// ```
/// use std::time::Duration;
/// use tidings::{Failure, Reject};
///
/// fn check(address: &str) -> Result<(), Failure> {
///     let port: u16 = address.parse().reject()?;                       // no attempt will make it a number
///     std::net::TcpListener::bind(("127.0.0.1", port)).retry_after(Duration::from_secs(5))?;
///     Ok(())
/// }
/// # assert!(check("x").is_err());
/// ```
pub trait Reject<T> {
    /// An error goes to the dead letters at once.
    ///
    /// # Errors
    /// The error, as a [`Failure`].
    fn reject(self) -> Result<T, Failure>;

    /// After an error the next attempt comes not earlier than `wait`.
    ///
    /// # Errors
    /// The error, as a [`Failure`].
    fn retry_after(self, wait: Duration) -> Result<T, Failure>;
}

impl<T, E: Into<Failure>> Reject<T> for Result<T, E> {
    fn reject(self) -> Result<T, Failure> {
        self.map_err(|error| Failure { verdict: Verdict::Reject, ..error.into() })
    }

    fn retry_after(self, wait: Duration) -> Result<T, Failure> {
        self.map_err(|error| Failure { verdict: Verdict::RetryAfter(wait), ..error.into() })
    }
}
