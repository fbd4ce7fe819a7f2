//! A service's life, with real ports and the memory broker.

mod broker;
mod drain;
mod start;
mod together;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Client, Health, Link, Message, PublishFailures, Subscribed, Subscription,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::*;
use crate::Event;

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "order.placed", key = "id")]
struct Placed {
    id: String,
}

fn placed() -> Placed {
    Placed { id: "7".to_owned() }
}

/// Long enough for a machine that is busy with something else.
const SOON: Duration = Duration::from_secs(30);

/// A service on free ports with a memory broker of its own.
fn builder(name: &'static str, flags: &[&str]) -> Builder {
    let broker = format!("--broker=memory:{}", uuid::Uuid::new_v4());
    let data = format!("--data={}", tidings_testing::servers::folder("service").display());
    let args = ["program", "--admin=127.0.0.1:0", "--address=127.0.0.1:0", &broker, &data, "--log=off"];
    Service::builder(name, "1.2.3").arguments(args.iter().chain(flags)).environment::<String, String>([])
}

fn service(flags: &[&str]) -> Service {
    builder("orders", flags).init().unwrap()
}

/// What an HTTP server answers: the status, then everything.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(SOON, stream.read_to_string(&mut text)).await.unwrap().unwrap();
    (text[9..12].parse().unwrap(), text)
}

/// Waits until what is asked for is there.
async fn until<F: Future<Output = bool>>(mut there: impl FnMut() -> F) {
    let end = Instant::now() + SOON;
    while !there().await {
        assert!(Instant::now() < end, "it did not come");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn metric(address: SocketAddr, line: &str) -> bool {
    get(address, "/metrics").await.1.lines().any(|other| other == line)
}

/// A broker whose health is in the test's hand.
struct Moody {
    broker: Arc<dyn Broker>,
    health: std::sync::Mutex<Health>,
}

impl Moody {
    async fn new() -> Arc<Self> {
        let url = format!("memory:{}", uuid::Uuid::new_v4()).parse().unwrap();
        let client = Client { service: "test".into(), instance: "test".into() };
        let broker = tidings_memory::open(&url, &client).await.unwrap();
        Arc::new(Self { broker, health: Health::Up.into() })
    }

    fn is(&self, health: Health) {
        *self.health.lock().unwrap() = health;
    }
}

impl Broker for Moody {
    fn name(&self) -> &'static str {
        "moody"
    }
    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }
    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        self.broker.publish(batch)
    }
    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        self.broker.flush()
    }
    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        self.broker.subscribe(subscription)
    }
    fn health(&self) -> Health {
        self.health.lock().unwrap().clone()
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("moods", 3)]
    }
    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.broker.close()
    }
}
