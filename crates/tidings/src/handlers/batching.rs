//! From single messages to batches and back: each message waits for the outcome of the batch that it came into.
//!
//! The loop knows nothing of it: a message of a batch is an attempt like any other, which is why order, retries and dead letters hold
//! for each by itself.

use std::{
    marker::PhantomData,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{sync::oneshot, task::AbortHandle, time::sleep};

use super::{
    Batch, BatchArgs, BatchFailure, Context, Early, Failure, Handler, IntoBatchOutcome, Meta,
    arguments::decode,
    dispatch::{Dispatch, Needs, Slot},
};
use crate::error::panic_text;

/// A batch handler with its state.
pub(super) struct Batched<H, S, A: BatchArgs<S>> {
    shared: Arc<Shared<H, S, A>>,
}

struct Shared<H, S, A: BatchArgs<S>> {
    handler: H,
    state: S,
    max: usize,
    wait: Duration,
    gathering: Mutex<Gathering<A::Event>>,
    arguments: PhantomData<fn() -> A>,
}

/// The messages of the next batch.
struct Gathering<E> {
    members: Vec<Member<E>>,
    /// Which batch this is, so that the time that has passed for one does not end the next.
    number: u64,
}

struct Member<E> {
    event: E,
    context: Context,
    outcome: oneshot::Sender<Result<(), Failure>>,
    call: Call,
}

/// The call that a message ended up in, once it is made.
type Call = Arc<OnceLock<AbortHandle>>;

/// Ends the call when one of its messages is given up: the call must not outlive it.
struct Waiting(Option<Call>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(call) = self.0.take().as_deref().and_then(OnceLock::get) {
            call.abort();
        }
    }
}

impl<H, S, A: BatchArgs<S>> Batched<H, S, A> {
    /// Batches of up to `max`, which wait for others for so long.
    pub(super) fn new(handler: H, state: S, max: usize, wait: Duration) -> Self {
        let gathering = Mutex::new(Gathering { members: Vec::new(), number: 0 });
        Self { shared: Arc::new(Shared { handler, state, max, wait, gathering, arguments: PhantomData }) }
    }
}

impl<H, S, A> Dispatch for Batched<H, S, A>
where
    H: Handler<A>,
    H::Future: Future<Output: IntoBatchOutcome> + Send + 'static,
    S: Send + Sync + 'static,
    A: BatchArgs<S>,
{
    fn dispatch(&self, context: Context, slot: &mut Slot) {
        let shared = Arc::clone(&self.shared);
        slot.set(async move {
            let event = match decode::<A::Event>(context.message()) {
                Ok(event) => event,
                Err(Early::Failed(failure)) => return Err(failure),
                Err(Early::Handled) => return Ok(()),
            };
            let (outcome, ended) = oneshot::channel();
            let call = Call::default();
            let mut waiting = Waiting(Some(Arc::clone(&call)));
            shared.join(Member { event, context, outcome, call });
            let ended = ended.await;
            waiting.0 = None;
            ended.unwrap_or_else(|_| Err("the call ended with another message of its batch".into()))
        });
    }

    fn needs(&self, needs: &mut Needs) {
        A::needs(&self.shared.state, needs);
    }
}

impl<H, S, A> Shared<H, S, A>
where
    H: Handler<A>,
    H::Future: Future<Output: IntoBatchOutcome> + Send + 'static,
    S: Send + Sync + 'static,
    A: BatchArgs<S>,
{
    /// Adds a message to the next batch, which is called when it is full or has waited.
    fn join(self: Arc<Self>, member: Member<A::Event>) {
        let mut gathering = self.lock();
        gathering.members.push(member);
        if gathering.members.len() >= self.max {
            let members = gathering.take();
            drop(gathering);
            self.begin(members);
        } else if gathering.members.len() == 1 {
            let number = gathering.number;
            drop(gathering);
            tokio::spawn(async move {
                sleep(self.wait).await;
                let mut gathering = self.lock();
                if gathering.number == number {
                    let members = gathering.take();
                    drop(gathering);
                    self.begin(members);
                }
            });
        }
    }

    fn begin(self: Arc<Self>, mut members: Vec<Member<A::Event>>) {
        // Given up while they waited: others have them.
        members.retain(|member| !member.outcome.is_closed());
        if members.is_empty() {
            return;
        }
        let calls: Vec<_> = members.iter().map(|member| Arc::clone(&member.call)).collect();
        let call = tokio::spawn(self.run(members)).abort_handle();
        for made in calls {
            let _ = made.set(call.clone());
        }
    }

    async fn run(self: Arc<Self>, members: Vec<Member<A::Event>>) {
        let (mut events, mut contexts, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for Member { event, context, outcome, .. } in members {
            events.push(event);
            contexts.push(context);
            waiting.push(outcome);
        }
        let metas = contexts.iter().map(Meta::of).collect();
        let called = AssertUnwindSafe(self.call(Batch::new(events, metas), contexts.swap_remove(0))).catch_unwind().await;
        let failed = called.unwrap_or_else(|payload| format!("the handler panicked: {}", panic_text(&*payload)).into());
        let outcomes = failed.outcomes(waiting.len());
        for (waiting, outcome) in waiting.into_iter().zip(outcomes) {
            // One that was given up meanwhile hears nothing.
            let _ = waiting.send(outcome);
        }
    }

    /// Calls the handler, and publishes what it answers.
    async fn call(&self, batch: Batch<A::Event>, mut context: Context) -> BatchFailure {
        let count = batch.len();
        let (outgoing, failed) = match A::extract(batch, &mut context, &self.state).await {
            Ok(arguments) => self.handler.call(arguments).await.into_batch_outcome(&context),
            Err(Early::Handled) => return BatchFailure::none(),
            Err(Early::Failed(failure)) => return failure.into(),
        };
        if outgoing.is_empty() || failed.is_of_all(count) {
            return failed;
        }
        match context.end(None, Ok(outgoing)).await {
            Ok(()) => failed,
            Err(failure) => failure.into(),
        }
    }
}

impl<H, S, A: BatchArgs<S>> Shared<H, S, A> {
    fn lock(&self) -> MutexGuard<'_, Gathering<A::Event>> {
        self.gathering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Gathering<E> {
    fn take(&mut self) -> Vec<Member<E>> {
        self.number += 1;
        std::mem::take(&mut self.members)
    }
}
