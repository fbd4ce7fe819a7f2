//! The trace that the running code belongs to: set around calls and attempts, read by whatever publishes.

use tidings_core::TraceContext;

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// The trace of the call or delivery that is being worked on.
pub(crate) fn current() -> Option<TraceContext> {
    CURRENT.try_with(Clone::clone).ok()
}

/// Runs `future` within `trace`.
pub(crate) fn scope<F: Future>(trace: TraceContext, future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(trace, future)
}

/// Runs `f` within `trace`: for a loop that polls futures by hand.
pub(crate) fn within<R>(trace: &TraceContext, f: impl FnOnce() -> R) -> R {
    CURRENT.sync_scope(trace.clone(), f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn code_sees_the_trace_that_it_runs_in() {
        let (outer, inner) = (TraceContext::start(), TraceContext::start());
        assert_eq!(current(), None);
        scope(outer.clone(), async {
            assert_eq!(current(), Some(outer.clone()));
            within(&inner, || assert_eq!(current(), Some(inner.clone())));
            assert_eq!(current(), Some(outer.clone()));
        })
        .await;
    }
}
