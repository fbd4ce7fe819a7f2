//! JetStream: publishing with an acknowledgement for each message, and handling what is stored.

use anyhow::Result;
use async_nats::jetstream::stream;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ruststream::{Broker as _, nonzero};
use ruststream_nats::prelude::*;
use tokio::time::Instant;

use crate::{
    Window,
    sent::{Count, CountAll, Handled, SUBJECT, body, message, rate},
};

/// Publishes that wait for their acknowledgement at most, as many as in the other variants. RustStream's publish is one future
/// until the acknowledgement, so whole publishes are in flight here and not acknowledgements alone.
const OUTSTANDING: usize = 1_024;

pub(crate) async fn publish(window: Window) -> Result<f64> {
    let broker = NatsBroker::new(window.place).connect().await?;
    let name = format!("PEER-{}", uuid::Uuid::new_v4().simple());
    let subject = format!("peer{}.sent", uuid::Uuid::new_v4().simple());
    let config = stream::Config {
        name: name.clone(),
        subjects: vec![subject.clone()],
        discard: stream::DiscardPolicy::New,
        max_bytes: 8 << 30,
        ..Default::default()
    };
    broker.jetstream().create_stream(config).await?;
    let publisher = broker.publisher(JetStreamPublish::default());
    let body = body(128);
    let one = async || {
        let message_id = format!("/bench {}", uuid::Uuid::now_v7().hyphenated());
        let options = JetStreamOptions { message_id: Some(message_id), ..Default::default() };
        publisher.publish(message(&subject, &body), Some(&options)).await
    };
    let mut sending = FuturesUnordered::new();
    let mut count = 0;
    let begun = Instant::now();
    while begun.elapsed() < window.time {
        if sending.len() == OUTSTANDING
            && let Some(sent) = sending.next().await
        {
            Result::<(), ruststream_nats::NatsError>::from(sent)?;
        }
        sending.push(one());
        count += 1;
    }
    while let Some(sent) = sending.next().await {
        sent?;
    }
    let rate = rate(count, begun);
    broker.jetstream().delete_stream(name).await?;
    Ok(rate)
}

/// One message a call, as the other variants.
pub(crate) async fn consume(window: Window) -> Result<f64> {
    let (broker, stored) = full(&window);
    let handled = Handled::default();
    let handler = Count(handled.clone());
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(broker, |mount| {
        mount.include(subscriber(stored, handler).build());
    });
    run_for(app, &handled, window).await
}

/// A whole pull a call. RustStream pulls again only after the batch was handled, but here the job chooses the size of the pulls,
/// which is the client's 200 in the other shape.
pub(crate) async fn consume_batches(window: Window) -> Result<f64> {
    let (broker, stored) = full(&window);
    let handled = Handled::default();
    let handler = CountAll(handled.clone());
    let app = RustStream::new(AppInfo::new("bench", "0.0.0")).with_broker(broker, |mount| {
        mount.include(subscriber(stored, handler).batch(nonzero!(4_000)).build());
    });
    run_for(app, &handled, window).await
}

/// The stream that the benchmarks filled, with the consumer settings of the raw client.
fn full(window: &Window) -> (NatsBroker, JetStreamSubject) {
    const STREAM: &str = "FULL";
    let (server, _) = window.place.split_once(&format!("/{STREAM}")).unwrap_or_default();
    let stored = JetStreamSubject::new(SUBJECT, STREAM)
        .durable(format!("peer-{}", uuid::Uuid::new_v4().simple()))
        .max_ack_pending(65_536)
        .ack_wait(NonZeroDuration::from_secs(nonzero!(10)));
    (NatsBroker::new(server), stored)
}

async fn run_for(app: impl App, handled: &Handled, window: Window) -> Result<f64> {
    let begun = Instant::now();
    let running = app.start().await?;
    tokio::time::sleep_until(begun + window.time).await;
    let rate = rate(handled.count(), begun);
    running.shutdown().await?;
    Ok(rate)
}
