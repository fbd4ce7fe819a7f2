//! What else a service does beside calls and events.

use std::{
    fmt,
    future::{Future, IntoFuture},
};

use tidings_core::BoxFuture;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::{Error, Result};

/// Completes when the service begins to stop: `stopping.await`.
#[derive(Debug, Clone)]
pub struct Stopping(pub(super) CancellationToken);

impl IntoFuture for Stopping {
    type Output = ();
    type IntoFuture = WaitForCancellationFutureOwned;

    fn into_future(self) -> Self::IntoFuture {
        self.0.cancelled_owned()
    }
}

/// What [`Service::task`](super::Service::task) runs: a future, or a function of [`Stopping`] that makes one.
///
/// A future is dropped when the service stops, after the last call and the last handler have ended. A function's future is waited
/// for as handlers are, since it knows when to end; it is dropped when they would be cut.
pub trait Task<Kind>: Send + 'static {
    #[doc(hidden)]
    fn prepare(self) -> Prepared;
}

/// How a task ends: `()`, `Result<(), E>` with any error, or never.
#[diagnostic::on_unimplemented(
    message = "a task cannot return `{Self}`",
    label = "a task returns nothing, or `Result<(), E>` with any error"
)]
pub trait TaskOutcome {
    #[doc(hidden)]
    fn outcome(self) -> Result<()>;
}

impl TaskOutcome for () {
    fn outcome(self) -> Result<()> {
        Ok(())
    }
}

impl<E: Into<Error>> TaskOutcome for std::result::Result<(), E> {
    fn outcome(self) -> Result<()> {
        self.map_err(Into::into)
    }
}

/// The type of a loop without an end, which Rust has but does not let one write here yet.
type Never = <fn() -> ! as Returns>::Value;

#[doc(hidden)]
pub trait Returns {
    type Value;
}

impl<T> Returns for fn() -> T {
    type Value = T;
}

impl TaskOutcome for Never {
    fn outcome(self) -> Result<()> {
        self
    }
}

#[doc(hidden)]
pub struct Prepared(pub(super) Kind);

pub(super) enum Kind {
    /// Dropped at the end.
    Endless(BoxFuture<'static, Result<()>>),
    /// Told of the end, and waited for.
    Told(Box<dyn FnOnce(Stopping) -> BoxFuture<'static, Result<()>> + Send>),
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Endless(_) => "Endless",
            Kind::Told(_) => "Told",
        })
    }
}

#[doc(hidden)]
#[derive(Debug)]
pub enum OfFuture {}

#[doc(hidden)]
#[derive(Debug)]
pub enum OfFunction {}

impl<F> Task<OfFuture> for F
where
    F: Future<Output: TaskOutcome> + Send + 'static,
{
    fn prepare(self) -> Prepared {
        Prepared(Kind::Endless(Box::pin(async { self.await.outcome() })))
    }
}

impl<W, F> Task<OfFunction> for W
where
    W: FnOnce(Stopping) -> F + Send + 'static,
    F: Future<Output: TaskOutcome> + Send + 'static,
{
    fn prepare(self) -> Prepared {
        Prepared(Kind::Told(Box::new(|stopping| {
            let future = self(stopping);
            Box::pin(async { future.await.outcome() })
        })))
    }
}
