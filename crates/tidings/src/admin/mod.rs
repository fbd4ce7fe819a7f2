//! The admin port: what operators and orchestrators ask over HTTP.
//!
//! `/healthz` answers as long as the process does, `/readyz` says what is ready and why not, `/metrics` is for Prometheus.
//! Nothing here changes anything, and nothing secret is shown.

use std::net::SocketAddr;

use axum::{
    Router,
    extract::State as Shared,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    metrics::Metrics,
    readiness::{Readiness, State},
};

/// What `/metrics` is written in: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The admin port, served until this is dropped.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    _served: AbortOnDropHandle<()>,
}

impl Admin {
    /// Serves it.
    pub(crate) fn serve(listener: TcpListener, address: SocketAddr, readiness: Readiness, metrics: Metrics) -> Self {
        let router = router(readiness, metrics);
        let served = async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the admin port is no longer served");
            }
        };
        Self { address, _served: AbortOnDropHandle::new(tokio::spawn(served)) }
    }
}

fn router(readiness: Readiness, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz).with_state(readiness))
        .route("/metrics", get(metrics_text).with_state(metrics))
}

/// `200` or `503`, with every part: `{"ready": false, "parts": {"broker": {"state": "down", "reason": "…"}}}`.
async fn readyz(Shared(readiness): Shared<Readiness>) -> Response {
    let parts = readiness.parts();
    let ready = *readiness.ready().borrow();
    let shown: Map<String, Value> = parts
        .into_iter()
        .map(|(name, state)| {
            let shown = match state {
                State::Up => json!({"state": "up"}),
                State::Noted(reason) => json!({"state": "noted", "reason": reason}),
                State::Down(reason) => json!({"state": "down", "reason": reason}),
            };
            (name, shown)
        })
        .collect();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, axum::Json(json!({"ready": ready, "parts": shown}))).into_response()
}

async fn metrics_text(Shared(metrics): Shared<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
