//! NATS core: publishing, and from publish to handler, on both wires.

use anyhow::Result;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tidings::{Message, Source, Topic};
use tokio::time::Instant;

use super::{
    Comparison, On, Variant, Window, Wire, peer,
    sent::{Handled, SUBJECT, Sent, body, message, names, rate, service},
    variant,
};

/// How far a publisher may be ahead of the handler: NATS core drops what a slow subscriber does not take.
const AHEAD: u64 = 8_000;
/// Messages between two looks at the clock and at the handler.
const BURST: u64 = 1_000;

pub(super) fn all() -> Vec<Comparison> {
    let comparison = |name, about, variants: Vec<Variant>| Comparison {
        name,
        about,
        unit: "messages/s",
        ground: On::Nats,
        current_thread: false,
        variants,
    };
    vec![
        comparison(
            "nats publish, bare, 128 B",
            "Publishing until the server has it, `?wire=bare` against the raw client without headers.",
            vec![
                variant!("async-nats", |w| raw_publish(w, Wire::Bare, 128)),
                variant!("tidings-nats" >= 0.95, |w| our_publish(w, "bare", 128)),
                peer(),
            ],
        ),
        comparison(
            "nats publish, bare, 1 KiB",
            "With 1 KiB.",
            vec![
                variant!("async-nats", |w| raw_publish(w, Wire::Bare, 1024)),
                variant!("tidings-nats" >= 0.95, |w| our_publish(w, "bare", 1024)),
            ],
        ),
        comparison(
            "nats publish, CloudEvents, 128 B",
            "The same with the CloudEvents headers on both sides.",
            vec![
                variant!("async-nats", |w| raw_publish(w, Wire::CloudEvents, 128)),
                variant!("tidings-nats" >= 0.95, |w| our_publish(w, "cloudevents", 128)),
            ],
        ),
        comparison(
            "nats publish, CloudEvents, 1 KiB",
            "With 1 KiB.",
            vec![
                variant!("async-nats", |w| raw_publish(w, Wire::CloudEvents, 1024)),
                variant!("tidings-nats" >= 0.95, |w| our_publish(w, "cloudevents", 1024)),
            ],
        ),
        comparison(
            "nats publish to handler, bare, 128 B",
            "From publish to a typed handler, decoded; `?wire=bare` against the raw client without headers.",
            vec![
                variant!("async-nats", |w| raw_way(w, Wire::Bare, 128)),
                variant!("service" >= 0.95, |w| our_way(w, "bare", 128)),
                peer(),
            ],
        ),
        comparison(
            "nats publish to handler, CloudEvents, 128 B",
            "The same with the CloudEvents headers, sent and read on both sides.",
            vec![
                variant!("async-nats", |w| raw_way(w, Wire::CloudEvents, 128)),
                variant!("service" >= 0.95, |w| our_way(w, "cloudevents", 128)),
            ],
        ),
        comparison(
            "nats publish to handler, CloudEvents, 1 KiB",
            "With 1 KiB.",
            vec![
                variant!("async-nats", |w| raw_way(w, Wire::CloudEvents, 1024)),
                variant!("service" >= 0.95, |w| our_way(w, "cloudevents", 1024)),
            ],
        ),
        comparison(
            "nats publish to handler, bare, 1 KiB",
            "With 1 KiB.",
            vec![
                variant!("async-nats", |w| raw_way(w, Wire::Bare, 1024)),
                variant!("service" >= 0.95, |w| our_way(w, "bare", 1024)),
                peer(),
            ],
        ),
    ]
}

/// The attributes of an event, as a program that wants them on the wire would write them by hand.
pub(super) fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    let id = uuid::Uuid::now_v7();
    let mut time = [0; 40];
    headers.insert("ce-specversion", "1.0");
    headers.insert("ce-id", &*id.hyphenated().to_string());
    headers.insert("ce-source", "/bench");
    headers.insert("ce-type", SUBJECT);
    headers.insert("ce-time", tidings_core::wire::write_time(std::time::SystemTime::now(), &mut time));
    headers.insert("ce-datacontenttype", "application/json");
    headers
}

/// What a subscriber that wants the attributes reads of them.
pub(super) fn read_headers(headers: Option<&HeaderMap>) -> usize {
    let Some(headers) = headers else { return 0 };
    let names = ["ce-id", "ce-source", "ce-type", "ce-time", "ce-datacontenttype"];
    names.iter().filter_map(|name| headers.get(*name)).map(|value| value.as_str().to_owned().len()).sum()
}

async fn raw_send(client: &Client, wire: Wire, body: &Bytes) -> Result<()> {
    match wire {
        Wire::Bare => client.publish(SUBJECT, body.clone()).await?,
        Wire::CloudEvents => client.publish_with_headers(SUBJECT, headers(), body.clone()).await?,
    }
    Ok(())
}

async fn raw_publish(window: Window, wire: Wire, size: usize) -> Result<f64> {
    let client = async_nats::connect(&window.place).await?;
    let body = body(size);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < window.time {
        for _ in 0..BURST {
            raw_send(&client, wire, &body).await?;
        }
        count += BURST;
    }
    client.flush().await?;
    Ok(rate(count, begun))
}

async fn our_publish(window: Window, wire: &'static str, size: usize) -> Result<f64> {
    let broker = open(&format!("{}?wire={wire}", window.place)).await?;
    let (topic, source) = names()?;
    let body = body(size);
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < window.time {
        for batch in batches(&topic, &source, &body) {
            broker.publish(&batch).await?;
        }
        count += BURST;
    }
    broker.flush().await?;
    Ok(rate(count, begun))
}

/// A burst, in the batches that a relay would make.
pub(super) fn batches(topic: &Topic, source: &Source, body: &Bytes) -> impl Iterator<Item = Vec<Message>> {
    const BATCH: u64 = 250;
    (0..BURST / BATCH).map(move |_| (0..BATCH).map(|_| message(topic, source, body)).collect())
}

pub(super) async fn open(url: &str) -> Result<std::sync::Arc<dyn tidings_core::Broker>> {
    let client = tidings_core::Client { service: "bench".into(), instance: "1".into() };
    Ok(tidings_nats::open(&url.parse()?, &client).await?)
}

async fn raw_way(window: Window, wire: Wire, size: usize) -> Result<f64> {
    let subscriber = async_nats::connect(&window.place).await?;
    let mut messages = subscriber.queue_subscribe(SUBJECT, "bench".to_owned()).await?;
    subscriber.flush().await?;
    let handled = Handled::default();
    let counted = handled.clone();
    let handling = tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            if wire == Wire::CloudEvents {
                std::hint::black_box(read_headers(message.headers.as_ref()));
            }
            let event: Sent = serde_json::from_slice(&message.payload)?;
            std::hint::black_box(event.number + event.text.len() as u64);
            counted.one();
        }
        Ok::<_, serde_json::Error>(())
    });
    let client = async_nats::connect(&window.place).await?;
    let body = body(size);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < window.time {
        for _ in 0..BURST {
            raw_send(&client, wire, &body).await?;
        }
        sent += BURST;
        handled.catch_up(sent, AHEAD).await;
    }
    handled.catch_up(sent, 0).await;
    handling.abort();
    Ok(rate(sent, begun))
}

async fn our_way(window: Window, wire: &'static str, size: usize) -> Result<f64> {
    let url = format!("{}?wire={wire}", window.place);
    let handled = Handled::default();
    let (running, _) = service(&url, &handled).await?;
    let broker = open(&url).await?;
    let (topic, source) = names()?;
    let body = body(size);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < window.time {
        for batch in batches(&topic, &source, &body) {
            broker.publish(&batch).await?;
        }
        sent += BURST;
        handled.catch_up(sent, AHEAD).await;
    }
    handled.catch_up(sent, 0).await;
    let rate = rate(sent, begun);
    let _ = running.stop().await;
    Ok(rate)
}
