//! Many events in one call: what a batch handler takes and returns.

use std::{error::Error, fmt, sync::Arc};

use tidings_core::Event;

use super::{Announce, Context, Early, Extract, Failure, Meta, Outgoing, Publish};

/// Events that are handled in one call: see [`Handlers::on_batch`](crate::Handlers::on_batch).
///
/// Each stays a message of its own: it is settled, retried or given up by itself.
pub struct Batch<E> {
    events: Vec<E>,
    metas: Vec<Meta>,
}

impl<E> Batch<E> {
    pub(super) fn new(events: Vec<E>, metas: Vec<Meta>) -> Self {
        Self { events, metas }
    }

    /// The events, in the order in which they came.
    #[must_use]
    pub fn events(&self) -> &[E] {
        &self.events
    }

    /// What came with each of them, at the same place.
    #[must_use]
    pub fn metas(&self) -> &[Meta] {
        &self.metas
    }

    /// How many there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Each with what came with it.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&E, &Meta)> {
        self.events.iter().zip(&self.metas)
    }

    /// The events by value.
    #[must_use]
    pub fn into_events(self) -> Vec<E> {
        self.events
    }
}

impl<E> fmt::Debug for Batch<E> {
    /// Without the events: they may hold what belongs into no log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

/// Which events of a batch failed; all others are handled.
///
/// `?` makes one from any error, which means that all of them failed.
///
/// ```
/// use tidings::{Failure, Handlers, handlers::{Batch, BatchFailure}};
/// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created", key = "id")]
/// # struct UserCreated { id: String }
///
/// async fn index(users: Batch<UserCreated>) -> Result<(), BatchFailure> {
///     let mut failed = BatchFailure::none();
///     for (place, user) in users.events().iter().enumerate() {
///         if user.id.is_empty() {
///             failed.add(place, Failure::reject("a user without an id"));
///         }
///     }
///     failed.into_result()
/// }
///
/// let handlers: Handlers = Handlers::new().on_batch(500, std::time::Duration::from_millis(20), index);
/// ```
///
/// A handler that answers events returns them beside it: `(Publish<…>, BatchFailure)`.
#[derive(Debug)]
pub struct BatchFailure(Failed);

#[derive(Debug)]
enum Failed {
    All(Failure),
    These(Vec<(usize, Failure)>),
}

impl BatchFailure {
    /// None yet.
    #[must_use]
    pub fn none() -> Self {
        Self(Failed::These(Vec::new()))
    }

    /// The event at this place of the batch failed. A second failure of one is passed over.
    pub fn add(&mut self, place: usize, failure: impl Into<Failure>) {
        if let Failed::These(failed) = &mut self.0 {
            failed.push((place, failure.into()));
        }
    }

    /// `Ok` when none failed.
    ///
    /// # Errors
    /// When one did.
    pub fn into_result(self) -> Result<(), Self> {
        match &self.0 {
            Failed::These(failed) if failed.is_empty() => Ok(()),
            _ => Err(self),
        }
    }

    /// Whether all of `count` events failed.
    pub(super) fn is_of_all(&self, count: usize) -> bool {
        match &self.0 {
            Failed::All(_) => true,
            Failed::These(failed) => failed.iter().any(|(place, _)| *place >= count),
        }
    }

    /// What each of `count` events comes to. A place beyond them names none, so all are tried again.
    pub(super) fn outcomes(self, count: usize) -> Vec<Result<(), Failure>> {
        let all = |failure: Failure| {
            let shared = failure.shared();
            (0..count).map(|_| Err(shared.again())).collect()
        };
        match self.0 {
            Failed::All(failure) => all(failure),
            Failed::These(failed) => {
                let mut outcomes: Vec<Result<(), Failure>> = (0..count).map(|_| Ok(())).collect();
                for (place, failure) in failed {
                    match outcomes.get_mut(place) {
                        Some(outcome) if outcome.is_ok() => *outcome = Err(failure),
                        Some(_) => {}
                        None => return all(format!("the handler named event {place} of a batch of {count}").into()),
                    }
                }
                outcomes
            }
        }
    }
}

impl<E: Into<Failure>> From<E> for BatchFailure {
    fn from(error: E) -> Self {
        Self(Failed::All(error.into()))
    }
}

/// A failure that several messages share.
pub(super) struct SharedFailure {
    error: Arc<dyn Error + Send + Sync>,
    verdict: super::Verdict,
}

impl SharedFailure {
    pub(super) fn new(error: Arc<dyn Error + Send + Sync>, verdict: super::Verdict) -> Self {
        Self { error, verdict }
    }

    pub(super) fn again(&self) -> Failure {
        Failure::with(Box::new(OneOfMany(Arc::clone(&self.error))), self.verdict)
    }
}

/// The shared error, as if it were this message's own.
#[derive(Debug)]
struct OneOfMany(Arc<dyn Error + Send + Sync>);

impl fmt::Display for OneOfMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for OneOfMany {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// What a batch handler returns: nothing, events to publish, or a `Result` of either, where any error means that all failed and
/// [`BatchFailure`] says which; or events with the failures beside them, as `(Publish<…>, BatchFailure)`.
///
/// The events go out before the messages are acknowledged; none when all of the batch failed. When they cannot, all of it failed.
#[diagnostic::on_unimplemented(
    message = "a batch handler cannot return `{Self}`",
    label = "returns `{Self}`",
    note = "a batch handler returns nothing, `Publish<…>`, a `Result` of either with `BatchFailure`, `tidings::Failure` or any other error, or `(Publish<…>, BatchFailure)`"
)]
pub trait IntoBatchOutcome {
    /// What is published because of the batch, and which of its events failed.
    fn into_batch_outcome(self, context: &Context) -> (Outgoing, BatchFailure);
}

impl IntoBatchOutcome for () {
    fn into_batch_outcome(self, _: &Context) -> (Outgoing, BatchFailure) {
        (Outgoing::new(), BatchFailure::none())
    }
}

impl<E: Event> IntoBatchOutcome for Publish<E> {
    fn into_batch_outcome(self, context: &Context) -> (Outgoing, BatchFailure) {
        (self, BatchFailure::none()).into_batch_outcome(context)
    }
}

impl<T: Announce> IntoBatchOutcome for Option<T> {
    fn into_batch_outcome(self, context: &Context) -> (Outgoing, BatchFailure) {
        (self, BatchFailure::none()).into_batch_outcome(context)
    }
}

impl<T: Announce> IntoBatchOutcome for (T, BatchFailure) {
    fn into_batch_outcome(self, context: &Context) -> (Outgoing, BatchFailure) {
        let (answer, failed) = self;
        match answer.announce(context) {
            Ok(outgoing) => (outgoing, failed),
            Err(failure) => (Outgoing::new(), failure.into()),
        }
    }
}

impl<A: Announce, B: Announce> IntoBatchOutcome for (A, B) {
    fn into_batch_outcome(self, context: &Context) -> (Outgoing, BatchFailure) {
        (self, BatchFailure::none()).into_batch_outcome(context)
    }
}

impl<A: Announce, B: Announce, C: Announce> IntoBatchOutcome for (A, B, C) {
    fn into_batch_outcome(self, context: &Context) -> (Outgoing, BatchFailure) {
        (self, BatchFailure::none()).into_batch_outcome(context)
    }
}

impl<T: IntoBatchOutcome, E: Into<BatchFailure>> IntoBatchOutcome for Result<T, E> {
    fn into_batch_outcome(self, context: &Context) -> (Outgoing, BatchFailure) {
        match self {
            Ok(answer) => answer.into_batch_outcome(context),
            Err(failed) => (Outgoing::new(), failed.into()),
        }
    }
}

/// The arguments of a batch handler: `(Batch<E>, A1, A2, …)`.
#[diagnostic::on_unimplemented(
    message = "a handler with the arguments `{Self}` does not handle batches",
    label = "not the arguments of a batch handler",
    note = "its first argument is `Batch<…>` of an event, by value"
)]
pub trait BatchArgs<S>: Sized + Send + 'static {
    /// What the batch is of.
    #[doc(hidden)]
    type Event: Event;

    /// The others are made in the context of the batch's first message.
    #[doc(hidden)]
    fn extract(batch: Batch<Self::Event>, context: &mut Context, state: &S) -> impl Future<Output = Result<Self, Early>> + Send;

    #[doc(hidden)]
    fn needs(state: &S, needs: &mut super::Needs);
}

macro_rules! tuples {
    ($(($($argument:ident),*))+) => {$(
        #[allow(non_snake_case, unused_variables, reason = "an argument is called like its type, and there may be none")]
        impl<S: Sync, E: Event, $($argument: Extract<S>),*> BatchArgs<S> for (Batch<E>, $($argument,)*) {
            type Event = E;

            async fn extract(batch: Batch<E>, context: &mut Context, state: &S) -> Result<Self, Early> {
                $(let $argument = $argument::extract(context, state).await?;)*
                Ok((batch, $($argument,)*))
            }

            fn needs(state: &S, needs: &mut super::Needs) {
                $($argument::needs(state, needs);)*
            }
        }
    )+};
}

tuples! {
    ()
    (A1)
    (A1, A2)
    (A1, A2, A3)
    (A1, A2, A3, A4)
    (A1, A2, A3, A4, A5)
    (A1, A2, A3, A4, A5, A6)
    (A1, A2, A3, A4, A5, A6, A7)
    (A1, A2, A3, A4, A5, A6, A7, A8)
}
