//! One attempt: a handler's future, polled once in place, and as a task when it is still pending then.

use std::{
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{self, Poll, Waker},
    time::Duration,
};

use tokio::{sync::mpsc::UnboundedSender, task::AbortHandle, time::Instant};
use tracing::{Instrument, Span, field};

use super::{Clock, Event, hand::Ticket};
use crate::{
    error::panic_text,
    handlers::{Context, Delivered, Dispatch, Failure, Slot, empty_slot},
    telemetry,
    trace::{self, Work},
};

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum How {
    Handled,
    Failed(Failure),
    /// With this message.
    Panicked(String),
    TimedOut,
    /// Its task was aborted.
    Cut,
}

impl From<Result<(), Failure>> for How {
    fn from(outcome: Result<(), Failure>) -> Self {
        match outcome {
            Ok(()) => Self::Handled,
            Err(failure) => Self::Failed(failure),
        }
    }
}

/// What every line that is logged during an attempt carries. At level ERROR, so that no filter of lines takes the trace's id
/// from those that are left.
///
/// Where lines are written by our own subscriber it makes the span when there is a line, for a span costs more than all the
/// rest of a delivery; elsewhere it is made at once.
pub(super) fn span(delivered: &Delivered, attempt: u32) -> Span {
    if telemetry::makes_spans() { Span::none() } else { span_now(delivered, attempt) }
}

pub(crate) fn span_now(delivered: &Delivered, attempt: u32) -> Span {
    let message = &delivered.message;
    tracing::error_span!(
        "attempt",
        trace_id = message.trace().map(|trace| field::display(trace.trace_id())),
        topic = %message.topic(),
        id = %message.id(),
        group = %delivered.place.subscription.group,
        attempt,
    )
}

/// Begins an attempt in `slot` and polls it once; `None` when it is pending.
///
/// Its waker is never woken: a pending future is polled again at once by the task that it becomes.
pub(super) fn poll_in_place(
    handler: &dyn Dispatch,
    delivered: &Arc<Delivered>,
    attempt: u32,
    slot: &mut Slot,
    span: &Span,
) -> Option<How> {
    let work = Work::Attempt(Arc::clone(delivered), attempt);
    let mut poll = || {
        handler.dispatch(Context::new(Arc::clone(delivered), attempt), slot);
        let polled = slot.poll(&mut task::Context::from_waker(Waker::noop()));
        if let Poll::Ready(Ok(())) = polled {
            tracing::debug!("handled");
        }
        polled
    };
    let polled = span.in_scope(|| trace::within(work, || catch(&mut poll)));
    match polled {
        Ok(Poll::Ready(outcome)) => Some(outcome.into()),
        Ok(Poll::Pending) => None,
        Err(panicked) => {
            // Whatever is left of it is dropped here, not by the next attempt.
            let _ = catch(|| *slot = empty_slot());
            Some(panicked)
        }
    }
}

fn catch<R>(f: impl FnOnce() -> R) -> Result<R, How> {
    // Nothing of ours is left half-done: what unwinds is the handler's future, which is dropped.
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| How::Panicked(panic_text(&*payload).to_owned()))
}

/// An attempt that goes on as a task until it ends, its time is up, or it is aborted; in each case it sends [`Event::Ended`].
pub(super) struct Task {
    pub(super) ticket: Ticket,
    /// The handler, when nothing was polled yet.
    pub(super) anew: Option<(Arc<dyn Dispatch>, Context)>,
    pub(super) slot: Slot,
    pub(super) deadline: Instant,
    pub(super) clock: Clock,
    pub(super) events: UnboundedSender<Event>,
}

/// An attempt that ended in its task.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) ticket: Ticket,
    pub(super) how: How,
    /// To be used again.
    pub(super) slot: Option<Slot>,
    /// How long the first poll took, where that was in the task.
    pub(super) first_poll: Option<Duration>,
}

impl Task {
    /// Begins it; what is answered aborts it.
    pub(super) fn spawn(self, work: Work, span: Span) -> AbortHandle {
        let Self { ticket, anew, slot, deadline, clock, events } = self;
        let mut running = Running { ticket, anew, slot: Some(slot), how: None, first_poll: None, events };
        let attempt = async move {
            let how = tokio::select! {
                biased;
                how = poll_fn(|cx| running.poll(cx)) => how,
                () = clock.until(deadline) => How::TimedOut,
            };
            if let How::Handled = how {
                tracing::debug!("handled");
            }
            running.end(how);
        };
        tokio::spawn(trace::scope(work, attempt).instrument(span)).abort_handle()
    }
}

/// Says how the attempt ended when it is dropped, for a task may be aborted anywhere.
struct Running {
    ticket: Ticket,
    anew: Option<(Arc<dyn Dispatch>, Context)>,
    slot: Option<Slot>,
    how: Option<How>,
    first_poll: Option<Duration>,
    events: UnboundedSender<Event>,
}

impl Running {
    fn poll(&mut self, cx: &mut task::Context<'_>) -> Poll<How> {
        let Some(slot) = &mut self.slot else { return Poll::Ready(How::Cut) };
        let polled = match self.anew.take() {
            None => catch(|| slot.poll(cx)),
            Some((handler, context)) => {
                let begun = Instant::now();
                let polled = catch(|| {
                    handler.dispatch(context, slot);
                    slot.poll(cx)
                });
                self.first_poll = Some(begun.elapsed());
                polled
            }
        };
        match polled {
            Ok(polled) => polled.map(Into::into),
            Err(panicked) => Poll::Ready(panicked),
        }
    }

    fn end(&mut self, how: How) {
        if !matches!(how, How::Handled) {
            // What was cancelled is dropped here, within its span, and before anybody hears that it ended.
            self.slot = None;
        }
        self.how = Some(how);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let how = self.how.take().unwrap_or_else(|| {
            self.slot = None;
            How::Cut
        });
        let ended = Ended { ticket: self.ticket, how, slot: self.slot.take(), first_poll: self.first_poll };
        // Nobody listens any more when the subscription gave this handler up.
        let _ = self.events.send(Event::Ended(ended));
    }
}
