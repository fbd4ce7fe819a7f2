//! Where typed handlers meet the delivery loop, which knows no types.

use std::{marker::PhantomData, sync::Arc};

use tidings_core::{GroupName, TopicPattern};
use tokio_util::sync::ReusableBoxFuture;

use super::{Context, Early, Failure, Handler, IntoOutcome, Options, arguments::Arguments};

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
            match A::extract(&mut context, state).await {
                Ok(arguments) => handler.call(arguments).await.into_outcome(),
                Err(Early::Handled) => Ok(()),
                Err(Early::Failed(failure)) => Err(failure),
            }
        });
    }
}
