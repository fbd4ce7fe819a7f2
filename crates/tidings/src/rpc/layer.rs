//! What stands around every call: its trace, its limits, its count.

use std::{
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};
use tokio_util::{
    sync::CancellationToken,
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};
use tonic::{Code, Status, body::Body};
use tower::{Layer, Service};
use tracing::Instrument;

use super::{
    body::{Answer, code_in},
    deadline,
    limit::Limited,
};
use crate::{delivery::Drain, error::panic_text, metrics::Metrics, trace};

/// A client that is gone without a word is noticed after this and another twenty seconds.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How long answers to calls that were cut may take to leave.
const LEAVE: Duration = Duration::from_millis(200);

/// How long a connection without a call may take to end.
const MUTE: Duration = Duration::from_secs(1);

/// What bounds calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The largest message from a caller, in bytes.
    pub(super) message: u64,
    /// How long a call may take until its answer begins.
    pub(super) deadline: Duration,
    /// The most calls at once on one connection.
    pub(super) streams: u32,
}

/// Puts [`Calls`] around the servers.
#[derive(Clone)]
pub(super) struct CallLayer(Arc<Shared>);

struct Shared {
    metrics: Metrics,
    /// The services that there are.
    names: Vec<&'static str>,
    limits: Limits,
    drain: Drain,
    /// The calls whose answers have not gone to their end.
    in_hand: TaskTracker,
}

impl CallLayer {
    pub(super) fn new(metrics: Metrics, names: Vec<&'static str>, limits: Limits, drain: Drain) -> Self {
        Self(Arc::new(Shared { metrics, names, limits, drain, in_hand: TaskTracker::new() }))
    }

    /// Tells when no call is in hand.
    pub(super) fn in_hand(&self) -> TaskTracker {
        self.0.in_hand.clone()
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, shared: Arc::clone(&self.0) }
    }
}

/// Servers whose calls are counted, bounded and within a trace.
#[derive(Clone)]
pub(super) struct Calls<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S> Service<Request<Body>> for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Future: Send> + Clone + Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that said it is ready has to be the one that is called.
        let next = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, next);
        Box::pin(answer(inner, request, Arc::clone(&self.shared)))
    }
}

async fn answer<S>(mut inner: S, request: Request<Body>, shared: Arc<Shared>) -> Result<Response<Body>, S::Error>
where
    S: Service<Request<Body>, Response = Response<Body>>,
{
    let method = Method::of(request.uri().path(), &shared.names);
    let context = trace::of_headers(request.headers());
    // An error span, or its lines would lose the trace's id when only warnings are logged.
    let span = tracing::error_span!("call", method = %method.text, trace_id = %context.trace_id());
    let deadline = deadline::of_call(request.headers(), shared.limits.deadline);
    // Health watches have no end of their own: they are told of the stop, and end with it.
    let cut = if method.watches { &shared.drain.stop } else { &shared.drain.cut };
    let mut counted = Counted {
        metrics: shared.metrics.clone(),
        method,
        begun: Instant::now(),
        code: Code::Cancelled,
        _in_hand: shared.in_hand.token(),
    };

    let request = request.map(|body| Body::new(Limited::new(body, shared.limits.message)));
    let work = async move { inner.call(request).await };
    let work = trace::scope(trace::Work::Call(context), AssertUnwindSafe(work).catch_unwind()).instrument(span.clone());
    let response = tokio::select! {
        biased;
        answered = work => match answered {
            Ok(answered) => answered?,
            Err(panic) => {
                span.in_scope(|| tracing::error!("a call panicked: {}", panic_text(&*panic)));
                Status::internal("the call failed in a way that nobody expected").into_http()
            }
        },
        () = sleep(deadline) => Status::deadline_exceeded("the call took too long").into_http(),
        () = shared.drain.cut.cancelled() => stopping().into_http(),
    };
    match code_in(response.headers()) {
        // An answer without a message says how it ended at once.
        Some(code) => {
            counted.ended(code);
            Ok(response)
        }
        None => {
            let cut = cut.clone();
            Ok(response.map(|body| Body::new(Answer::new(body, counted, cut))))
        }
    }
}

/// What a call is answered that the end of the service overtakes.
pub(super) fn stopping() -> Status {
    Status::unavailable("the service is stopping")
}

/// Completes when what was answered at the cut has had time to leave.
pub(super) async fn after_answers(cut: CancellationToken) {
    cut.cancelled().await;
    sleep(LEAVE).await;
}

/// Completes when, after the stop, no call is in hand any more. A client that is gone without a word, or never said one, keeps its
/// connection open, and is no reason to wait until the cut.
pub(super) async fn after_calls(stop: CancellationToken, in_hand: TaskTracker) {
    stop.cancelled().await;
    in_hand.close();
    loop {
        in_hand.wait().await;
        sleep(MUTE).await;
        if in_hand.is_empty() {
            return;
        }
    }
}

/// The method of a call, as it may stand in a log or a metric: callers can name any, and metrics live for ever.
struct Method {
    text: String,
    watches: bool,
}

impl Method {
    fn of(path: &str, names: &[&'static str]) -> Self {
        let service = path.strip_prefix('/').and_then(|path| path.split('/').next()).unwrap_or_default();
        let known = names.contains(&service);
        let text = if known { path[1..].to_owned() } else { UNKNOWN.to_owned() };
        Self { text, watches: service == "grpc.health.v1.Health" }
    }
}

/// Stands for every service and method that there is not.
const UNKNOWN: &str = "unknown";

/// A call that is counted when this is dropped: as cancelled, unless it was told otherwise.
pub(super) struct Counted {
    metrics: Metrics,
    method: Method,
    begun: Instant,
    code: Code,
    _in_hand: TaskTrackerToken,
}

impl Counted {
    pub(super) fn ended(&mut self, code: Code) {
        self.code = code;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let method = if self.code == Code::Unimplemented { UNKNOWN } else { &self.method.text };
        self.metrics.call(method, name(self.code), self.begun.elapsed().as_secs_f64());
    }
}

/// As gRPC spells it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
