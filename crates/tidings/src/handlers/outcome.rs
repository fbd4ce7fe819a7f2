//! What a handler may return.

use tidings_core::Event;

use super::{Context, Failure, Outgoing, Publish};

/// What a handler returns: nothing, events to publish, or a `Result` of either with any error.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "a handler returns nothing, `Publish<…>`, or a `Result` of either with `tidings::Failure`, `anyhow::Error` or any other error"
)]
pub trait IntoOutcome {
    /// Whether the message is handled, and what is published because of it.
    ///
    /// # Errors
    /// When the attempt failed.
    fn into_outcome(self, context: &Context) -> Result<Outgoing, Failure>;
}

impl IntoOutcome for () {
    fn into_outcome(self, _: &Context) -> Result<Outgoing, Failure> {
        Ok(Outgoing::new())
    }
}

impl<E: Event> IntoOutcome for Publish<E> {
    fn into_outcome(self, context: &Context) -> Result<Outgoing, Failure> {
        self.announce(context)
    }
}

impl<T: Announce> IntoOutcome for Option<T> {
    fn into_outcome(self, context: &Context) -> Result<Outgoing, Failure> {
        self.announce(context)
    }
}

impl<A: Announce, B: Announce> IntoOutcome for (A, B) {
    fn into_outcome(self, context: &Context) -> Result<Outgoing, Failure> {
        self.announce(context)
    }
}

impl<A: Announce, B: Announce, C: Announce> IntoOutcome for (A, B, C) {
    fn into_outcome(self, context: &Context) -> Result<Outgoing, Failure> {
        self.announce(context)
    }
}

impl<T: Announce, E: Into<Failure>> IntoOutcome for Result<T, E> {
    fn into_outcome(self, context: &Context) -> Result<Outgoing, Failure> {
        self.map_err(Into::into)?.announce(context)
    }
}

/// What a handler that succeeded may answer: nothing, or events.
#[diagnostic::on_unimplemented(
    message = "a handler cannot return `{Self}`",
    label = "answers `{Self}`",
    note = "a handler answers `()`, `Publish<…>`, an `Option` of it, or two or three of these"
)]
pub trait Announce {
    /// The messages of its events.
    ///
    /// # Errors
    /// When an event cannot be encoded or its key or a header cannot be sent.
    fn announce(self, context: &Context) -> Result<Outgoing, Failure>;
}

impl Announce for () {
    fn announce(self, _: &Context) -> Result<Outgoing, Failure> {
        Ok(Outgoing::new())
    }
}

impl<E: Event> Announce for Publish<E> {
    fn announce(self, context: &Context) -> Result<Outgoing, Failure> {
        // What cannot be sent now cannot be sent by the next attempt either, but its event may be another one.
        Ok(context.publisher().messages(&self)?)
    }
}

impl<T: Announce> Announce for Option<T> {
    fn announce(self, context: &Context) -> Result<Outgoing, Failure> {
        self.map_or_else(|| Ok(Outgoing::new()), |events| events.announce(context))
    }
}

impl<A: Announce, B: Announce> Announce for (A, B) {
    fn announce(self, context: &Context) -> Result<Outgoing, Failure> {
        let mut outgoing = self.0.announce(context)?;
        outgoing.extend(self.1.announce(context)?);
        Ok(outgoing)
    }
}

impl<A: Announce, B: Announce, C: Announce> Announce for (A, B, C) {
    fn announce(self, context: &Context) -> Result<Outgoing, Failure> {
        let (first, second, third) = self;
        ((first, second), third).announce(context)
    }
}
