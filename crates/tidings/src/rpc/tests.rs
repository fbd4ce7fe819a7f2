//! Calls over real connections.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::http::{Request, Response, uri::PathAndQuery};
use futures_util::future::BoxFuture;
use tidings_core::BrokerError;
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tonic::{Code, Status, body::Body, server::NamedService, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use crate::{service::Running, trace};

const SOON: Duration = Duration::from_secs(30);

/// A server whose methods do what their names say.
#[derive(Clone)]
struct Probe {
    begun: mpsc::UnboundedSender<()>,
    gate: Arc<Notify>,
}

impl NamedService for Probe {
    const NAME: &'static str = "test.Probe";
}

impl Probe {
    async fn answer(self, method: String, text: String) -> Result<tonic::Response<String>, Status> {
        match &*method {
            "/test.Probe/Echo" => Ok(tonic::Response::new(text)),
            "/test.Probe/Panic" => panic!("{text}"),
            "/test.Probe/Refuse" => Err(Status::not_found(text)),
            "/test.Probe/Trace" => Ok(tonic::Response::new(trace::current().unwrap().trace_id().to_string())),
            "/test.Probe/Hold" => {
                let _ = self.begun.send(());
                self.gate.notified().await;
                Ok(tonic::Response::new("let go".to_owned()))
            }
            _ => Err(Status::unimplemented(method)),
        }
    }
}

impl Service<Request<Body>> for Probe {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (probe, method) = (self.clone(), request.uri().path().to_owned());
        let answer =
            service_fn(move |request: tonic::Request<String>| probe.clone().answer(method.clone(), request.into_inner()));
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(grpc.unary(answer, request).await)
        })
    }
}

struct Rig {
    running: Running,
    channel: Channel,
    begun: mpsc::UnboundedReceiver<()>,
    gate: Arc<Notify>,
}

async fn rig(flags: &[&str]) -> Rig {
    let args = ["p", "--admin=127.0.0.1:0", "--address=127.0.0.1:0", "--log=off"];
    let builder = crate::Service::builder("probe", "1").arguments(args.iter().chain(flags)).environment::<String, String>([]);
    let (begun_sender, begun) = mpsc::unbounded_channel();
    let gate = Arc::new(Notify::new());
    let probe = Probe { begun: begun_sender, gate: Arc::clone(&gate) };
    let running = builder.init().unwrap().grpc(probe).start().await.unwrap();
    let url = format!("http://{}", running.grpc_address().unwrap());
    let channel = Channel::from_shared(url).unwrap().connect().await.unwrap();
    Rig { running, channel, begun, gate }
}

impl Rig {
    async fn call(&self, method: &str, text: &str) -> Result<String, Status> {
        self.send(method, tonic::Request::new(text.to_owned())).await
    }

    async fn send(&self, method: &str, request: tonic::Request<String>) -> Result<String, Status> {
        call(self.channel.clone(), method, request).await
    }

    async fn health(&self, service: &str) -> ServingStatus {
        let request = HealthCheckRequest { service: service.to_owned() };
        HealthClient::new(self.channel.clone()).check(request).await.unwrap().into_inner().status()
    }

    async fn metrics(&self) -> String {
        self.running.core_metrics().encode().unwrap()
    }
}

async fn call(channel: Channel, method: &str, request: tonic::Request<String>) -> Result<String, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::try_from(method).unwrap();
    let answered = client.unary(request, path, ProstCodec::<String, String>::default()).await;
    answered.map(tonic::Response::into_inner)
}

#[tokio::test]
async fn a_call_is_answered_counted_and_timed_with_its_code() {
    let rig = rig(&[]).await;
    assert_eq!(rig.call("/test.Probe/Echo", "hello").await.unwrap(), "hello");
    assert_eq!(rig.call("/test.Probe/Refuse", "who?").await.unwrap_err().code(), Code::NotFound);
    for unknown in ["/test.Probe/Made", "/test.Other/Up"] {
        assert_eq!(rig.call(unknown, "").await.unwrap_err().code(), Code::Unimplemented);
    }
    let metrics = rig.metrics().await;
    for line in [
        r#"tidings_calls_total{method="test.Probe/Echo",code="OK"} 1"#,
        r#"tidings_calls_total{method="test.Probe/Refuse",code="NOT_FOUND"} 1"#,
        r#"tidings_calls_total{method="unknown",code="UNIMPLEMENTED"} 2"#,
        r#"tidings_call_seconds_count{method="test.Probe/Echo"} 1"#,
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    assert!(!metrics.contains("Made"), "callers name no metrics: {metrics}");
    rig.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_an_internal_error_of_that_call_alone() {
    let mut rig = rig(&[]).await;
    let (held, panicked) = tokio::join!(rig.call("/test.Probe/Hold", ""), async {
        let status = rig.call("/test.Probe/Panic", "hunter2").await.unwrap_err();
        rig.gate.notify_one();
        status
    });
    assert_eq!(panicked.code(), Code::Internal);
    assert!(!panicked.message().contains("hunter2"), "{panicked}");
    assert_eq!(held.unwrap(), "let go");
    rig.begun.recv().await.unwrap();
    assert_eq!(rig.call("/test.Probe/Echo", "still here").await.unwrap(), "still here");
    rig.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_ends_with_the_services_deadline_or_its_callers_whichever_is_shorter() {
    let mut rig = rig(&["--grpc-deadline=100ms"]).await;
    assert_eq!(rig.call("/test.Probe/Hold", "").await.unwrap_err().code(), Code::DeadlineExceeded);
    rig.begun.recv().await.unwrap();
    let mut request = tonic::Request::new(String::new());
    // Sent as it is: tonic's own client would give up by itself.
    request.metadata_mut().insert("grpc-timeout", "20000u".parse().unwrap());
    let status = rig.send("/test.Probe/Hold", request).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status}");
    rig.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_connection_lives() {
    let rig = rig(&["--grpc-message=64KiB"]).await;
    let status = rig.call("/test.Probe/Echo", &"x".repeat(65 * 1024)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("larger than the 65536 that are allowed"), "{status}");
    let fits = "x".repeat(63 * 1024);
    assert_eq!(rig.call("/test.Probe/Echo", &fits).await.unwrap(), fits);
    rig.running.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_continues_its_callers_trace() {
    let rig = rig(&[]).await;
    let mut request = tonic::Request::new(String::new());
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    assert_eq!(rig.send("/test.Probe/Trace", request).await.unwrap(), "4bf92f3577b34da6a3ce929d0e0e4736");
    let (one, other) = (rig.call("/test.Probe/Trace", "").await.unwrap(), rig.call("/test.Probe/Trace", "").await.unwrap());
    assert_ne!(one, other);
    rig.running.stop().await.unwrap();
}

#[tokio::test]
async fn health_tells_of_each_service_and_of_all() {
    let rig = rig(&[]).await;
    for service in ["", "test.Probe"] {
        assert_eq!(rig.health(service).await, ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthCheckRequest { service: "test.Other".to_owned() };
    let status = HealthClient::new(rig.channel.clone()).check(unknown).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    rig.running.stop().await.unwrap();
}

#[tokio::test]
async fn health_says_no_until_the_service_is_ready() {
    let broker_is_there = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let there = Arc::clone(&broker_is_there);
    let open = move |_, client| {
        let there = there.load(std::sync::atomic::Ordering::Relaxed);
        async move {
            if !there {
                return Err(BrokerError::Unavailable { broker: "pigeon:".to_owned(), source: "no pigeon".into() });
            }
            tidings_memory::open(&"memory:health".parse().unwrap(), &client).await
        }
    };
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let args = ["p", "--admin=127.0.0.1:0", &format!("--address={free}"), "--broker=pigeon:", "--log=off"];
    let builder = crate::Service::builder("probe", "1").arguments(args).environment::<String, String>([]).scheme("pigeon", open);
    let (begun, _) = mpsc::unbounded_channel();
    let service = builder.init().unwrap().grpc(Probe { begun, gate: Arc::default() });
    let starting = tokio::spawn(service.handlers(crate::Handlers::new().on_topic("t", async |_: crate::Message| {})).start());
    let channel = Channel::from_shared(format!("http://{free}")).unwrap().connect_lazy();
    let health = async |service: &str| loop {
        let request = HealthCheckRequest { service: service.to_owned() };
        // Until it listens.
        if let Ok(answer) = HealthClient::new(channel.clone()).check(request).await {
            return answer.into_inner().status();
        }
        tokio::task::yield_now().await;
    };
    for service in ["", "test.Probe"] {
        assert_eq!(timeout(SOON, health(service)).await.unwrap(), ServingStatus::NotServing, "{service:?}");
    }
    broker_is_there.store(true, std::sync::atomic::Ordering::Relaxed);
    let running = timeout(SOON, starting).await.unwrap().unwrap().unwrap();
    for service in ["", "test.Probe"] {
        assert_eq!(health(service).await, ServingStatus::Serving, "{service:?}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_turns_health_ends_watches_finishes_calls_and_accepts_no_more() {
    let mut rig = rig(&["--drain=1h"]).await;
    let mut watch = HealthClient::new(rig.channel.clone()).watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    let held = tokio::spawn(call(rig.channel.clone(), "/test.Probe/Hold", tonic::Request::new(String::new())));
    rig.begun.recv().await.unwrap();

    let address = rig.running.grpc_address().unwrap();
    let stopping = tokio::spawn(rig.running.stop());
    assert_eq!(timeout(SOON, watch.message()).await.unwrap().unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(timeout(SOON, watch.message()).await.unwrap().unwrap_err().code(), Code::Unavailable);
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    timeout(SOON, refused).await.unwrap();

    rig.gate.notify_one();
    assert_eq!(timeout(SOON, held).await.unwrap().unwrap().unwrap(), "let go");
    timeout(SOON, stopping).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_says_nothing_holds_up_no_stop() {
    let mut rig = rig(&["--drain=1h"]).await;
    let mute = tokio::net::TcpStream::connect(rig.running.grpc_address().unwrap()).await.unwrap();
    let held = tokio::spawn(call(rig.channel.clone(), "/test.Probe/Hold", tonic::Request::new(String::new())));
    rig.begun.recv().await.unwrap();
    let stopping = tokio::spawn(rig.running.stop());
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!stopping.is_finished(), "a call is still in hand");
    rig.gate.notify_one();
    assert_eq!(timeout(SOON, held).await.unwrap().unwrap().unwrap(), "let go");
    timeout(SOON, stopping).await.unwrap().unwrap().unwrap();
    drop(mute);
}

#[tokio::test]
async fn a_call_that_outlives_the_cut_is_answered_unavailable() {
    let mut rig = rig(&["--drain=1s"]).await;
    let held = tokio::spawn(call(rig.channel.clone(), "/test.Probe/Hold", tonic::Request::new(String::new())));
    rig.begun.recv().await.unwrap();
    timeout(SOON, rig.running.stop()).await.unwrap().unwrap();
    let status = timeout(SOON, held).await.unwrap().unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "the service is stopping"));
}

#[tokio::test]
async fn reflection_names_the_services_that_were_described() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient, server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
    };
    let rig = rig(&[]).await;
    let request =
        ServerReflectionRequest { host: String::new(), message_request: Some(MessageRequest::ListServices(String::new())) };
    let asked = futures_util::stream::iter([request]);
    let mut answers = ServerReflectionClient::new(rig.channel.clone()).server_reflection_info(asked).await.unwrap().into_inner();
    let Some(MessageResponse::ListServicesResponse(list)) = answers.message().await.unwrap().unwrap().message_response else {
        panic!("no list")
    };
    assert!(list.service.iter().any(|service| service.name == "grpc.health.v1.Health"), "{list:?}");
    rig.running.stop().await.unwrap();
}
