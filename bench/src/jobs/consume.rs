//! JetStream: handling and acknowledging what is stored.

use std::time::Duration;

use anyhow::Result;
use async_nats::jetstream::{self, consumer};
use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{
    Comparison, On, Variant, Window, Wire,
    core::{open, read_headers},
    peer, peer_way,
    sent::{Handled, SUBJECT, Sent, body, message, names, rate, service_of_group},
    variant,
};

const STREAM: &str = "FULL";
/// Enough for a variant to read for as long as it runs.
const A_SECOND: u64 = 250_000;

pub(super) fn all() -> Vec<Comparison> {
    let comparison = |name, about, wire, current_thread, variants: Vec<Variant>| Comparison {
        name,
        about,
        unit: "messages/s",
        ground: On::FullStream(wire),
        current_thread,
        variants,
    };
    let ce =
        || vec![variant!("async-nats", |w| raw(w, Wire::CloudEvents)), variant!("service" >= 0.9, |w| ours(w, "cloudevents"))];
    vec![
        comparison(
            "jetstream consume, CloudEvents",
            "Stored messages of 128 B, decoded and acknowledged one by one; the raw client with two outstanding pulls of 4,000.",
            Wire::CloudEvents,
            false,
            ce(),
        ),
        comparison(
            "jetstream consume, CloudEvents, current-thread",
            "The same on the current-thread runtime.",
            Wire::CloudEvents,
            true,
            ce(),
        ),
        comparison(
            "jetstream consume, bare",
            "The same of messages without attributes.",
            Wire::Bare,
            false,
            vec![
                variant!("async-nats", |w| raw(w, Wire::Bare)),
                variant!("service" >= 0.9, |w| ours(w, "bare")),
                peer(),
                peer_way("RustStream, batches"),
            ],
        ),
    ]
}

/// Fills a stream for variants that run so long; answers where they find it.
pub(super) async fn fill(url: &str, wire: Wire, seconds: u64) -> Result<String> {
    let wire = if wire == Wire::Bare { "bare" } else { "cloudevents" };
    let place = format!("{url}/{STREAM}?max_bytes=8GiB&wire={wire}");
    let broker = open(&place.replacen("nats://", "jetstream://", 1)).await?;
    let (topic, source) = names()?;
    let body = body(128);
    for _ in 0..seconds * A_SECOND / 1000 {
        let batch: Vec<_> = (0..1000).map(|_| message(&topic, &source, &body)).collect();
        broker.publish(&batch).await?;
    }
    broker.close().await?;
    Ok(place)
}

async fn raw(window: Window, wire: Wire) -> Result<f64> {
    let (server, _) = window.place.split_once(&format!("/{STREAM}")).unwrap_or_default();
    let context = jetstream::new(async_nats::connect(server).await?);
    let config = consumer::pull::Config {
        durable_name: Some(format!("raw-{}", uuid::Uuid::new_v4().simple())),
        filter_subject: SUBJECT.to_owned(),
        max_ack_pending: 65_536,
        ack_wait: Duration::from_secs(10),
        ..Default::default()
    };
    let consumer = context.get_stream(STREAM).await?.create_consumer(config).await?;
    let pulls = stream::repeat(consumer).map(|consumer| async move { consumer.fetch().max_messages(4_000).messages().await });
    // Two are outstanding at any time; their messages come in turn.
    let mut batches = pulls.buffered(2);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < window.time {
        let Some(messages) = batches.next().await else { break };
        let mut messages = messages?;
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| anyhow::anyhow!(error))?;
            if wire == Wire::CloudEvents {
                std::hint::black_box(read_headers(message.headers.as_ref()));
            }
            let event: Sent = serde_json::from_slice(&message.payload)?;
            std::hint::black_box(event.number + event.text.len() as u64);
            message.ack().await.map_err(|error| anyhow::anyhow!(error))?;
            count += 1;
        }
    }
    Ok(rate(count, begun))
}

async fn ours(window: Window, _: &'static str) -> Result<f64> {
    let url = window.place.replacen("nats://", "jetstream://", 1);
    let handled = Handled::default();
    let group = format!("ours-{}", uuid::Uuid::new_v4().simple());
    let begun = Instant::now();
    let (running, _) = service_of_group(&url, &handled, &group).await?;
    tokio::time::sleep_until(begun + window.time).await;
    let rate = rate(handled.count(), begun);
    let _ = running.stop().await;
    Ok(rate)
}
