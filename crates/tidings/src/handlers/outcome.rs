//! What a handler may return.

use super::Failure;

/// What a handler returns: nothing, or a `Result<(), E>` with any error.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "a handler returns nothing, or `Result<(), E>` with `tidings::Failure`, `anyhow::Error` or any other error"
)]
pub trait IntoOutcome {
    /// Whether the message is handled.
    ///
    /// # Errors
    /// When the attempt failed.
    fn into_outcome(self) -> Result<(), Failure>;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Result<(), Failure> {
        Ok(())
    }
}

impl<E: Into<Failure>> IntoOutcome for Result<(), E> {
    fn into_outcome(self) -> Result<(), Failure> {
        self.map_err(Into::into)
    }
}
