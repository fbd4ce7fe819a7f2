//! The trace that the running code belongs to: set around calls and attempts, read by whatever publishes.

use axum::http::HeaderMap;
use tidings_core::TraceContext;

tokio::task_local! {
    static CURRENT: TraceContext;
}

/// The trace of the call or delivery that is being worked on.
pub(crate) fn current() -> Option<TraceContext> {
    CURRENT.try_with(Clone::clone).ok()
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
        scope(outer.clone(), async {
            assert_eq!(current(), Some(outer.clone()));
            within(&inner, || assert_eq!(current(), Some(inner.clone())));
            assert_eq!(current(), Some(outer.clone()));
        })
        .await;
    }
}
