//! NATS core: publishing, and from publish to handler.

use anyhow::Result;
use ruststream::Broker as _;
use ruststream_nats::prelude::*;
use tokio::time::Instant;

use crate::{
    Window,
    sent::{Count, Handled, SUBJECT, body, message, rate},
};

/// As in the benchmarks' own variants.
const AHEAD: u64 = 8_000;
const BURST: u64 = 1_000;

pub(crate) async fn publish(window: Window, size: usize) -> Result<f64> {
    let broker = NatsBroker::new(window.place).connect().await?;
    let publisher = broker.publisher(Publish);
    let body = body(size);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < window.time {
        for _ in 0..BURST {
            publisher.publish(message(SUBJECT, &body), None).await?;
        }
        count += BURST;
    }
    broker.client().flush().await?;
    Ok(rate(count, begun))
}

pub(crate) async fn way(window: Window, size: usize) -> Result<f64> {
    let handled = Handled::default();
    let handler = Count(handled.clone());
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(NatsBroker::new(window.place.clone()), |mount| {
        mount.include(subscriber(CoreSubject::new(SUBJECT).queue_group("bench"), handler).build());
    });
    let running = app.start().await?;
    // A connection of its own, as the other variants have.
    let broker = NatsBroker::new(window.place).connect().await?;
    let publisher = broker.publisher(Publish);
    let body = body(size);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < window.time {
        for _ in 0..BURST {
            publisher.publish(message(SUBJECT, &body), None).await?;
        }
        sent += BURST;
        handled.catch_up(sent, AHEAD).await;
    }
    handled.catch_up(sent, 0).await;
    let rate = rate(sent, begun);
    running.shutdown().await?;
    Ok(rate)
}
