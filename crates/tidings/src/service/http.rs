//! The program's own HTTP router, within the service's lifecycle and traces.

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::ServiceError;
use crate::{Result, delivery::Drain, trace};

/// Serves the router until it is told to stop, then finishes what it has; at the cut what is left is answered `503`.
pub(super) async fn serve(listener: TcpListener, router: Router, drain: Drain) -> Result<()> {
    let router = router.layer(from_fn_with_state(drain.cut.clone(), within_trace));
    let serving = axum::serve(listener, router).with_graceful_shutdown(drain.stop.cancelled_owned()).into_future();
    tokio::select! {
        served = serving => served.map_err(|source| ServiceError::Ended { part: "the HTTP server", source: source.into() }.into()),
        // A connection that is kept open by a body without an end.
        () = drain.cut.cancelled_owned() => Ok(()),
    }
}

async fn within_trace(State(cut): State<CancellationToken>, request: Request, next: Next) -> Response {
    let context = trace::of_headers(request.headers());
    // An error span, or its lines would lose the trace's id when only warnings are logged.
    let span = tracing::error_span!("request", method = %request.method(), trace_id = %context.trace_id());
    tokio::select! {
        response = trace::scope(trace::Work::Call(context), next.run(request)).instrument(span) => response,
        () = cut.cancelled() => (StatusCode::SERVICE_UNAVAILABLE, "the service is stopping\n").into_response(),
    }
}
