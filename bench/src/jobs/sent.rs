//! The event that every comparison sends, and a service that handles it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, anyhow};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings::{Event, Handlers, Message, Service, Source, State, Topic, service::Running, settings::Group};
use tokio::time::Instant;

/// An event of 128 bytes or 1 KiB of JSON.
#[derive(Debug, Event, Serialize, Deserialize)]
#[event(topic = "bench.sent")]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) text: String,
}

pub(crate) const SUBJECT: &str = "bench.sent";

/// The body of an event, of so many bytes.
pub(crate) fn body(size: usize) -> Bytes {
    let empty = Sent { number: 1_000_000, text: String::new() };
    let rest = size - serde_json::to_vec(&empty).map_or(0, |json| json.len());
    serde_json::to_vec(&Sent { text: "x".repeat(rest), ..empty }).unwrap_or_default().into()
}

/// A message of that body with an id of its own and the attributes that an event has.
pub(crate) fn message(topic: &Topic, source: &Source, body: &Bytes) -> Message {
    Message::builder(topic.clone(), source.clone(), body.clone())
        .time(std::time::SystemTime::now())
        .content_type(tidings::Text::from_static("application/json"))
        .build()
}

pub(crate) fn names() -> Result<(Topic, Source)> {
    Ok((Topic::from_static(SUBJECT)?, Source::new("/bench")?))
}

/// How many were handled, and when the last was; what the sending side may be ahead by is bounded with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handled(Arc<AtomicU64>);

impl Handled {
    pub(crate) fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until all but `ahead` of `sent` were handled.
    pub(crate) async fn catch_up(&self, sent: u64, ahead: u64) {
        while sent.saturating_sub(self.count()) > ahead {
            // Not by spinning: on few cores that takes from what is measured.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn handle(event: Sent, State(handled): State<Handled>) {
    std::hint::black_box(event.text.len() as u64 + event.number);
    handled.one();
}

/// A service that handles the event from `broker`.
pub(crate) async fn service(broker: &str, handled: &Handled) -> Result<(Running, tidings::Publisher)> {
    service_of_group(broker, handled, "bench").await
}

/// A service of that name, which is its group.
pub(crate) async fn service_of_group(broker: &str, handled: &Handled, group: &str) -> Result<(Running, tidings::Publisher)> {
    let failed = |error: tidings::Error| anyhow!("{error}");
    let service = Service::builder("bench", "0")
        .without(Group::Grpc)
        .without(Group::Database)
        .arguments(["bench", "--broker", broker, "--name", group, "--log", "warn"])
        .environment::<&str, &str>([])
        .init()
        .map_err(failed)?;
    let publisher = service.publisher().await.map_err(failed)?;
    let handlers = Handlers::new().on(handle).with_state(handled.clone());
    Ok((service.handlers(handlers).start().await.map_err(failed)?, publisher))
}

/// Per second, since `begun`.
pub(crate) fn rate(count: u64, begun: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let count = count as f64;
    count / begun.elapsed().as_secs_f64()
}
