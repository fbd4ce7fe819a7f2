//! What is this broker's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use tidings_core::{Broker, BrokerError, Client, Message, Outcome, PublishError, Start, Subscription, Topic, url::Url};
use tidings_memory::{Memory, Settings};
use tidings_testing::suite::{
    bodies, message, numbered, numbers, on_a_bare_wire_the_body_alone_arrives, publish, subscribe, subscription, within,
};

async fn open(url: &Url) -> Arc<dyn Broker> {
    let client = Client { service: "case".into(), instance: "1".into() };
    tidings_memory::open(url, &client).await.unwrap()
}

#[tokio::test]
async fn a_bare_wire_sends_the_body_alone() {
    let broker = open(&"memory:bare?wire=bare".parse().unwrap()).await;
    on_a_bare_wire_the_body_alone_arrives(&*broker).await;
}

fn bounded(max_messages: usize) -> Memory {
    let mut settings = Settings::default();
    settings.max_messages = max_messages;
    Memory::private(settings)
}

#[tokio::test]
async fn a_publisher_waits_for_a_slow_subscriber() {
    let broker = Arc::new(bounded(10));
    let mut reader = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move {
        for message in numbered("t", 1_000) {
            publish(&*publisher, &[message]).await;
        }
    });
    let mut came = Vec::new();
    while came.len() < 1_000 {
        let next = reader.next(1_000).await;
        assert!(next.len() <= 10);
        tokio::task::yield_now().await;
        reader.end(&next, Outcome::Ack).await;
        came.extend(bodies(&next));
    }
    assert_eq!(came, numbers(0, 1_000));
    publishing.await.unwrap();
}

#[tokio::test]
async fn a_batch_larger_than_the_room_goes_in_parts() {
    let broker = Arc::new(bounded(10));
    let mut reader = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move { publish(&*publisher, &numbered("t", 95)).await });
    assert_eq!(reader.read(95).await, numbers(0, 95));
    publishing.await.unwrap();
}

#[tokio::test]
async fn a_full_group_without_a_member_is_no_reason_to_wait() {
    let broker = bounded(10);
    let reader = subscribe(&broker, "away", "t").await;
    let both = subscribe(&broker, "there", "t").await;
    let batch = numbered("t", 12);
    let publishing = async {
        let failures = within(broker.publish(&batch)).await.unwrap_err();
        let places: Vec<_> = failures.failed().iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [10, 11]);
        let PublishError::Unavailable(why) = &failures.failed()[0].1 else { panic!("{failures}") };
        assert!(why.to_string().contains("group away on t"), "{why}");
    };
    // It leaves while the publisher waits for room in it.
    let leaving = async {
        tokio::task::yield_now().await;
        reader.close().await;
    };
    tokio::join!(publishing, leaving);
    drop(both);
}

#[tokio::test]
async fn a_publisher_that_waits_is_told_of_the_close() {
    let broker = Arc::new(bounded(1));
    let _reader = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move { publisher.publish(&numbered("t", 2)).await });
    tokio::task::yield_now().await;
    within(broker.close()).await.unwrap();
    let failures = publishing.await.unwrap().unwrap_err();
    assert!(matches!(failures.failed(), [(1, PublishError::Closed)]), "{failures}");
}

#[tokio::test]
async fn the_newest_thousand_dead_letters_are_kept() {
    let broker = bounded(10);
    let letter = |n: usize| -> Message {
        let topic = Topic::from_wire("dead.g.t").unwrap();
        message("t", &n.to_string()).into_builder().topic(topic).build()
    };
    let letters: Vec<_> = (0..1_500).map(letter).collect();
    publish(&broker, &letters).await;
    assert_eq!(broker.dead_letters(), letters[500..]);
}

#[tokio::test]
async fn a_group_cannot_start_before_it_subscribes() {
    let broker = bounded(10);
    for start in [Start::First, Start::At(std::time::SystemTime::now())] {
        let asked = Subscription { start: Some(start), ..subscription("g", "t") };
        let error = broker.subscribe(asked).await.map(drop).unwrap_err();
        assert!(matches!(error, BrokerError::Unsupported { .. }) && error.to_string().contains("sqlite:"), "{error}");
    }
}

#[tokio::test]
async fn one_name_is_one_broker_and_has_one_setting() {
    let url = |text: &str| text.parse::<Url>().unwrap();
    let broker = open(&url("memory:shared")).await;
    let mut reader = subscribe(&*open(&url("memory:shared")).await, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    assert_eq!(reader.read(1).await, ["0"]);
    let error = Memory::open(&url("memory:shared?max_messages=1")).unwrap_err().to_string();
    assert!(error.contains("max_messages=65536") && error.contains("memory:NAME"), "{error}");
    assert!(Memory::open(&url("memory:other?max_messages=1")).is_ok());
}

#[tokio::test]
async fn memory_stays_flat_over_a_million_messages() {
    let broker = Arc::new(bounded(1_000));
    let mut reader = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move {
        let one = message("t", &"x".repeat(100));
        for _ in 0..10_000 {
            let batch: Vec<_> =
                (0..100).map(|_| one.clone().into_builder().id(tidings_core::MessageId::generate()).build()).collect();
            publish(&*publisher, &batch).await;
        }
    });
    let mut settled = 0;
    let mut after_a_tenth = 0;
    while settled < 1_000_000 {
        let next = reader.next(256).await;
        settled += next.len();
        reader.end(&next, Outcome::Ack).await;
        if settled / 100_000 == 1 && after_a_tenth == 0 {
            after_a_tenth = resident();
        }
    }
    publishing.await.unwrap();
    let grown = resident().saturating_sub(after_a_tenth);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more than after the first tenth");
}

/// Resident memory in bytes; 0 where the system does not say.
fn resident() -> usize {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).map_or(0, |pages| pages * PAGE)
}

#[tokio::test]
async fn what_is_held_back_is_bounded_and_for_a_week_at_most() {
    use std::time::{Duration, SystemTime};
    let broker = bounded(1);
    let after = |seconds: u64| message("t", "").into_builder().due(SystemTime::now() + Duration::from_secs(seconds)).build();
    publish(&broker, &[after(60)]).await;
    let batch = [after(60), after(8 * 86_400)];
    let failures = within(broker.publish(&batch)).await.unwrap_err();
    assert!(
        matches!(failures.failed(), [(0, PublishError::Unavailable(_)), (1, PublishError::DelayTooLong { .. })]),
        "{failures:?}"
    );
}
