//! What the running code belongs to: the trace of a call, or an attempt at a message. Set around both, and read by whatever
//! publishes or logs.

use std::sync::Arc;

use axum::http::HeaderMap;
use tidings_core::TraceContext;

use crate::handlers::Delivered;

tokio::task_local! {
    static CURRENT: Work;
}

/// What is being worked on.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    Call(TraceContext),
    Attempt(Arc<Delivered>, u32),
}

/// The trace of the call or delivery that is being worked on.
pub(crate) fn current() -> Option<TraceContext> {
    let trace = |work: &Work| match work {
        Work::Call(trace) => Some(trace.clone()),
        Work::Attempt(delivered, _) => delivered.message.trace().cloned(),
    };
    CURRENT.try_with(trace).ok().flatten()
}

/// Hands `f` the attempt that is being made, if one is.
pub(crate) fn with_attempt<R>(f: impl FnOnce(&Delivered, u32) -> R) -> Option<R> {
    let attempt = |work: &Work| match work {
        Work::Call(_) => None,
        Work::Attempt(delivered, number) => Some(f(delivered, *number)),
    };
    CURRENT.try_with(attempt).ok().flatten()
}

/// The trace of a request: a span of its caller's, by the W3C's headers, or a new one.
pub(crate) fn of_headers(headers: &HeaderMap) -> TraceContext {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(parent) = text("traceparent").and_then(|parent| parent.parse::<TraceContext>().ok()) else {
        return TraceContext::start();
    };
    match text("tracestate") {
        Some(state) => parent.child().with_state(state),
        None => parent.child(),
    }
}

/// Runs `future` as part of `work`.
pub(crate) fn scope<F: Future>(work: Work, future: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(work, future)
}

/// Runs `f` as part of `work`: for a loop that polls futures by hand.
pub(crate) fn within<R>(work: Work, f: impl FnOnce() -> R) -> R {
    CURRENT.sync_scope(work, f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_continues_its_callers_trace() {
        const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let headers = |pairs: &[(&'static str, &'static str)]| {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let own = of_headers(&headers(&[("traceparent", PARENT), ("tracestate", "vendor=1")]));
        assert_eq!(own.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(own.traceparent().as_str(), PARENT);
        assert_eq!(own.state(), Some("vendor=1"));
        let new = of_headers(&headers(&[("traceparent", "hello")]));
        assert_ne!(new.trace_id(), own.trace_id());
    }

    #[tokio::test]
    async fn code_sees_the_trace_that_it_runs_in() {
        let (outer, inner) = (TraceContext::start(), TraceContext::start());
        assert_eq!(current(), None);
        scope(Work::Call(outer.clone()), async {
            assert_eq!(current(), Some(outer.clone()));
            within(Work::Call(inner.clone()), || assert_eq!(current(), Some(inner.clone())));
            assert_eq!(current(), Some(outer.clone()));
        })
        .await;
    }
}
