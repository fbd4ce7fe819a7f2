//! What ends with a handler: its transaction, and the events that it answers.

use std::{fmt, time::Duration};

use tidings_core::{BoxFuture, Message};
use tokio::time::timeout;

use super::{Context, Failure, IntoOutcome};

/// The messages of the events that a handler answers.
pub type Outgoing = Vec<Message>;

/// What an extractor began for one attempt; a drop undoes it.
pub(crate) trait Ending: Send + Sync {
    /// How long the handler may run.
    fn hold(&self) -> Option<Duration>;

    /// The handler succeeded and answered these.
    fn commit(self: Box<Self>, outgoing: Outgoing) -> BoxFuture<'static, Result<(), Failure>>;

    /// It failed.
    fn roll_back(self: Box<Self>) -> BoxFuture<'static, ()>;
}

impl fmt::Debug for dyn Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ending")
    }
}

impl Context {
    /// Ends what the extractors began, as the handler ended.
    pub(super) async fn end(&mut self, ending: Option<Box<dyn Ending>>, made: Result<Outgoing, Failure>) -> Result<(), Failure> {
        match (ending, made) {
            (None, Ok(outgoing)) => Ok(self.publisher().publish_messages(&outgoing).await?),
            (None, Err(failure)) => Err(failure),
            (Some(ending), Ok(outgoing)) => ending.commit(outgoing).await,
            (Some(ending), Err(failure)) => {
                ending.roll_back().await;
                Err(failure)
            }
        }
    }
}

/// Runs a handler that may not take longer than this.
pub(super) async fn within<F: Future<Output: IntoOutcome>>(
    most: Duration,
    call: F,
    context: &Context,
) -> Result<Outgoing, Failure> {
    match timeout(most, call).await {
        Ok(made) => made.into_outcome(context),
        Err(_) => Err(format!(
            "the handler kept its transaction for {most:?}, in which nobody else can write to the file: `.timeout(…)` or --transaction-timeout allows more"
        )
        .into()),
    }
}
