//! The event of the benchmarks, and a RustStream handler that counts it.

use std::{
    future::{Future, ready},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ruststream::{BytesMut, OutgoingMessage, prelude::*};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// The same as the benchmarks' own: 128 bytes or 1 KiB of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Sent {
    pub(crate) number: u64,
    pub(crate) text: String,
}

pub(crate) const SUBJECT: &str = "bench.sent";

/// The body of an event, of so many bytes.
pub(crate) fn body(size: usize) -> Vec<u8> {
    let empty = Sent { number: 1_000_000, text: String::new() };
    let rest = size - serde_json::to_vec(&empty).map_or(0, |json| json.len());
    serde_json::to_vec(&Sent { text: "x".repeat(rest), ..empty }).unwrap_or_default()
}

/// That body on its way out. The other variants share the bytes of one body; RustStream's publishers keep the buffer that they
/// are handed, so each message needs one of its own.
pub(crate) fn message<'a>(subject: &'a str, body: &[u8]) -> OutgoingMessage<'a, BytesMut> {
    OutgoingMessage::produced(subject, BytesMut::from(body))
}

/// How many were handled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handled(Arc<AtomicU64>);

impl Handled {
    /// Counts one; answers how many that makes.
    pub(crate) fn one(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
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

/// The typed handler: RustStream decodes the event before it.
#[derive(Debug)]
pub(crate) struct Count(pub(crate) Handled);

impl Handle<Sent> for Count {
    fn handle(&self, event: &Sent, _: &(), _: &mut Context<'_>) -> impl Future<Output = Result<(), HandlerOutcome>> {
        std::hint::black_box(event.text.len() as u64 + event.number);
        self.0.one();
        ready(Ok(()))
    }
}

/// The same for a whole batch; RustStream acknowledges each of its messages.
#[derive(Debug)]
pub(crate) struct CountAll(pub(crate) Handled);

impl Handle<[Sent]> for CountAll {
    fn handle(&self, events: &[Sent], _: &(), _: &mut Context<'_>) -> impl Future<Output = Result<(), Vec<HandlerOutcome>>> {
        for event in events {
            std::hint::black_box(event.text.len() as u64 + event.number);
            self.0.one();
        }
        ready(Ok(()))
    }
}

/// Per second, since `begun`.
pub(crate) fn rate(count: u64, begun: Instant) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let count = count as f64;
    count / begun.elapsed().as_secs_f64()
}
