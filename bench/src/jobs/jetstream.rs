//! JetStream: publishing with an acknowledgement for each message.

use std::collections::VecDeque;

use anyhow::Result;
use async_nats::jetstream::{self, stream};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

use super::{
    Comparison, On, Variant, Window, Wire,
    core::{headers, open},
    peer,
    sent::{body, message, names, rate},
    variant,
};

/// Acknowledgements that are outstanding at most: what is best for the raw client.
const OUTSTANDING: usize = 1_024;

pub(super) fn all() -> Vec<Comparison> {
    let comparison = |name, about, current_thread, variants: Vec<Variant>| Comparison {
        name,
        about,
        unit: "messages/s",
        ground: On::JetStream,
        current_thread,
        variants,
    };
    let both = || {
        vec![variant!("async-nats", |w| raw(w, Wire::CloudEvents)), variant!("tidings-nats" >= 0.95, |w| ours(w, "cloudevents"))]
    };
    vec![
        comparison(
            "jetstream publish, CloudEvents",
            "128 B, every message acknowledged, 1,024 acknowledgements outstanding, `Nats-Msg-Id` and CloudEvents headers on both sides.",
            false,
            both(),
        ),
        comparison("jetstream publish, CloudEvents, current-thread", "The same on tokio's current-thread runtime.", true, both()),
        comparison(
            "jetstream publish, bare",
            "`?wire=bare` against the raw client, `Nats-Msg-Id` on both sides.",
            false,
            vec![variant!("async-nats", |w| raw(w, Wire::Bare)), variant!("tidings-nats" >= 0.95, |w| ours(w, "bare")), peer()],
        ),
    ]
}

/// A stream of its own for the raw client, as large as the framework's.
pub(super) async fn stream(client: &async_nats::Client, name: &str, subject: &str) -> Result<jetstream::Context> {
    let context = jetstream::new(client.clone());
    let config = stream::Config {
        name: name.to_owned(),
        subjects: vec![subject.to_owned()],
        discard: stream::DiscardPolicy::New,
        max_bytes: 8 << 30,
        ..Default::default()
    };
    context.get_or_create_stream(config).await?;
    Ok(context)
}

pub(super) fn raw_headers(wire: Wire) -> async_nats::HeaderMap {
    let mut all = match wire {
        Wire::Bare => async_nats::HeaderMap::new(),
        Wire::CloudEvents => headers(),
    };
    all.insert("Nats-Msg-Id", &*format!("/bench {}", uuid::Uuid::now_v7().hyphenated()));
    all
}

async fn raw(window: Window, wire: Wire) -> Result<f64> {
    let client = async_nats::connect(&window.place).await?;
    let name = format!("RAW-{}", uuid::Uuid::new_v4().simple());
    let subject = format!("raw{}.sent", uuid::Uuid::new_v4().simple());
    let context = stream(&client, &name, &subject).await?;
    let body = body(128);
    let mut waiting = VecDeque::with_capacity(OUTSTANDING);
    let mut count: u64 = 0;
    let begun = Instant::now();
    while begun.elapsed() < window.time {
        if waiting.len() == OUTSTANDING
            && let Some(oldest) = waiting.pop_front()
        {
            let acknowledged: jetstream::context::PublishAckFuture = oldest;
            acknowledged.await?;
        }
        waiting.push_back(context.publish_with_headers(subject.clone(), raw_headers(wire), body.clone()).await?);
        count += 1;
    }
    for acknowledgement in waiting {
        acknowledgement.await?;
    }
    let rate = rate(count, begun);
    context.delete_stream(name).await?;
    Ok(rate)
}

async fn ours(window: Window, wire: &'static str) -> Result<f64> {
    const BATCH: usize = 256;
    let url = window.place.replacen("nats://", "jetstream://", 1);
    let name = format!("OURS-{}", uuid::Uuid::new_v4().simple());
    let broker = open(&format!("{url}/{name}?wire={wire}&max_bytes=8GiB")).await?;
    let (topic, source) = names()?;
    let body = body(128);
    let mut sending = FuturesUnordered::new();
    let mut count: u64 = 0;
    let begun = Instant::now();
    while begun.elapsed() < window.time {
        if sending.len() == OUTSTANDING / BATCH
            && let Some(sent) = sending.next().await
        {
            Result::<(), tidings_core::PublishFailures>::from(sent)?;
        }
        let batch: Vec<_> = (0..BATCH).map(|_| message(&topic, &source, &body)).collect();
        let broker = std::sync::Arc::clone(&broker);
        sending.push(async move { broker.publish(&batch).await });
        count += BATCH as u64;
    }
    while let Some(sent) = sending.next().await {
        sent?;
    }
    let rate = rate(count, begun);
    let context = jetstream::new(async_nats::connect(&window.place).await?);
    context.delete_stream(&name).await?;
    Ok(rate)
}
