//! One publisher to one typed handler in one process, against a bare bounded channel with the same decode.

use anyhow::Result;
use tidings_core::{Broker, Fetched, GroupName, Members, Outcome, Subscription, TopicPattern};
use tokio::{sync::mpsc, time::Instant};

use super::{
    Comparison, On, Window, peer,
    sent::{Handled, Sent, body, message, names, rate, service},
    variant,
};

pub(super) fn all() -> Vec<Comparison> {
    vec![
        Comparison {
            name: "memory",
            about: "One publisher to one typed handler, 128 B of JSON, decoded; the raw one is a bare tokio channel of 256 bodies.",
            unit: "messages/s",
            ground: On::Nothing,
            current_thread: false,
            variants: variants(),
        },
        Comparison {
            name: "memory, current-thread",
            about: "The same on tokio's current-thread runtime.",
            unit: "messages/s",
            ground: On::Nothing,
            current_thread: true,
            variants: variants(),
        },
    ]
}

fn variants() -> Vec<super::Variant> {
    vec![variant!("tokio channel", channel), variant!("tidings-memory", crate_alone), variant!("service" >= 0.8, whole), peer()]
}

async fn channel(window: Window) -> Result<f64> {
    let (to, mut from) = mpsc::channel(256);
    let body = body(128);
    let begun = Instant::now();
    tokio::spawn(async move {
        while begun.elapsed() < window.time {
            for _ in 0..1000 {
                if to.send(body.clone()).await.is_err() {
                    return;
                }
            }
        }
    });
    let mut count = 0;
    while let Some(body) = from.recv().await {
        let event: Sent = serde_json::from_slice(&body)?;
        std::hint::black_box(event.number + event.text.len() as u64);
        count += 1;
    }
    Ok(rate(count, begun))
}

async fn crate_alone(window: Window) -> Result<f64> {
    let broker = std::sync::Arc::new(tidings_memory::Memory::private(tidings_memory::Settings::default()));
    let subscription = Subscription {
        group: GroupName::new("bench")?,
        pattern: TopicPattern::new(super::sent::SUBJECT)?,
        members: Members::Share,
        start: None,
        unsettled: 256,
    };
    let (mut fetch, settle) = broker.subscribe(subscription).await?;
    let (topic, source) = names()?;
    let body = body(128);
    let begun = Instant::now();
    let publisher = tokio::spawn(async move {
        let mut sent: u64 = 0;
        while begun.elapsed() < window.time {
            for _ in 0..1000 {
                broker.publish(&[message(&topic, &source, &body)]).await?;
                sent += 1;
            }
        }
        Ok::<_, tidings_core::PublishFailures>(sent)
    });
    let mut count = 0;
    let mut outcomes = Vec::new();
    while !publisher.is_finished() {
        let Ok(fetched) = tokio::time::timeout(std::time::Duration::from_millis(100), fetch.fetch(256)).await else { continue };
        let Fetched::Deliveries(deliveries) = fetched? else { continue };
        for delivery in deliveries {
            let event: Sent = serde_json::from_slice(delivery.message.body())?;
            std::hint::black_box(event.number + event.text.len() as u64);
            outcomes.push((delivery.receipt, Outcome::Ack));
            count += 1;
        }
        settle.settle(&outcomes).await?;
        outcomes.clear();
    }
    Ok(rate(count, begun))
}

async fn whole(window: Window) -> Result<f64> {
    let handled = Handled::default();
    let (running, publisher) = service("memory:bench", &handled).await?;
    let (topic, source) = names()?;
    let body = body(128);
    let begun = Instant::now();
    let publishing = tokio::spawn(async move {
        let mut sent: u64 = 0;
        while begun.elapsed() < window.time {
            for _ in 0..1000 {
                publisher.publish_message(&message(&topic, &source, &body)).await?;
                sent += 1;
            }
        }
        Ok::<_, tidings::PublishError>(sent)
    });
    let sent = publishing.await??;
    handled.catch_up(sent, 0).await;
    let rate = rate(sent, begun);
    let _ = running.stop().await;
    Ok(rate)
}
