//! Where typed handlers meet the delivery loop, which knows no types.

use std::{marker::PhantomData, sync::Arc};

use tidings_core::{GroupName, TopicPattern};
use tokio_util::sync::ReusableBoxFuture;

use super::{Context, Early, Failure, Handler, IntoOutcome, Options, arguments::Arguments, ending::within};
use crate::delivery::Backlog;

/// The future of one attempt, in a box that the next one reuses.
pub(crate) type Slot = ReusableBoxFuture<'static, Result<(), Failure>>;

/// A slot before its first attempt.
pub(crate) fn empty_slot() -> Slot {
    Slot::new(std::future::ready(Ok(())))
}

/// A handler without its types. An undecodable body is a [`Failure::reject`]; panics and timeouts are the loop's.
pub(crate) trait Dispatch: Send + Sync {
    /// Puts the future of this attempt into `slot`; it is polled by the loop.
    fn dispatch(&self, context: Context, slot: &mut Slot);

    /// What its arguments need of the service.
    fn needs(&self, _needs: &mut Needs) {}
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl dyn Dispatch {
    /// The databases that it begins transactions in.
    pub(crate) fn transactions_in(&self) -> Vec<crate::database::Database> {
        let mut needs = Needs::default();
        self.needs(&mut needs);
        needs.transactions
    }
}

/// What the arguments of a handler need of the service that calls it.
#[derive(Debug, Clone, Default)]
pub struct Needs {
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) transactions: Vec<crate::database::Database>,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl Needs {
    pub(crate) fn transactions_in(&mut self, database: crate::database::Database) {
        self.transactions.push(database);
    }
}

/// A handler and what it is registered for.
#[derive(Clone)]
pub(crate) struct Registration {
    /// What it subscribes to.
    pub(crate) pattern: TopicPattern,
    /// Who shares it: what `options` say, or else the service's group.
    pub(crate) group: GroupName,
    /// What differs from the default.
    pub(crate) options: Options,
    /// What is called.
    pub(crate) handler: Arc<dyn Dispatch>,
    /// Where its transactions are begun, if it takes one; the service says so before it subscribes.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) joined: Option<crate::inbox::Joined>,
    /// Who wants to know when the subscription has had what waited for it.
    pub(crate) backlog: Option<Backlog>,
    /// The handler's type name, for logs and errors.
    pub(crate) name: &'static str,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration")
            .field("pattern", &self.pattern)
            .field("group", &self.group)
            .field("handler", &self.name)
            .finish_non_exhaustive()
    }
}

/// A handler with its state, and the kind and types of its arguments.
pub(super) struct Typed<H, S, K, A> {
    /// Shared with the attempts: one count up and down is all that a message costs, whatever handler and state are.
    parts: Arc<(H, S)>,
    arguments: PhantomData<fn(K) -> A>,
}

impl<H, S, K, A> Typed<H, S, K, A> {
    pub(super) fn new(handler: H, state: S) -> Self {
        Self { parts: Arc::new((handler, state)), arguments: PhantomData }
    }
}

impl<H, S, K, A> Dispatch for Typed<H, S, K, A>
where
    H: Handler<A>,
    H::Future: Future<Output: IntoOutcome> + Send + 'static,
    S: Send + Sync + 'static,
    K: 'static,
    A: Arguments<S, K>,
{
    fn dispatch(&self, mut context: Context, slot: &mut Slot) {
        let parts = Arc::clone(&self.parts);
        slot.set(async move {
            let (handler, state) = &*parts;
            // The context outlives the handler: what an extractor puts into it may have to be ended after the handler.
            let made = match A::extract(&mut context, state).await {
                Ok(arguments) => match context.hold() {
                    None => handler.call(arguments).await.into_outcome(&context),
                    // In a box, as the ending below: most handlers need no room for either.
                    Some(most) => Box::pin(within(most, handler.call(arguments), &context)).await,
                },
                Err(Early::Handled) => return Ok(()),
                Err(Early::Failed(failure)) => Err(failure),
            };
            match (context.take_ending(), made) {
                (None, Ok(outgoing)) if outgoing.is_empty() => Ok(()),
                (ending, made) => Box::pin(context.end(ending, made)).await,
            }
        });
    }

    fn needs(&self, needs: &mut Needs) {
        A::needs(&self.parts.1, needs);
    }
}
