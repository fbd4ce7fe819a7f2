//! `nats://` against a real server.

use std::time::{Duration, Instant};

use crate::common::{Reader, SOON, bodies, body, each, from, message, numbered, open, retry, to};
use futures_util::StreamExt;
use tidings_core::{Headers, Health, Key, MessageId, Outcome, PublishError, Start, TraceContext};
use tidings_testing::servers::{Nats, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_as_it_was_published() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut reader = Reader::new(&broker, to("mail", "user.created")).await;
    let mut headers = Headers::new();
    for (name, value) in [("a", "2"), ("a", "1"), ("b", "100% ünicode")] {
        headers.append(name, value).unwrap();
    }
    let full = message("user.created", vec![0xff, 0, b'\r', b'\n'])
        .into_builder()
        .key(Key::new("ünique key").unwrap())
        .content_type("application/octet-stream")
        .trace(TraceContext::start().with_state("v=1"))
        .headers(headers)
        .build();
    let limit = broker.capabilities().max_message;
    let batch = [full, message("user.created", ""), message("user.created", "1"), message("user.created", vec![7; limit - 1024])];
    broker.publish(&batch).await.unwrap();
    assert_eq!(reader.handle(4).await, batch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_message_is_its_body() {
    let Some(nats) = Nats::start().await else { return };
    let raw = async_nats::connect(nats.url()).await.unwrap();
    let mut raw_reader = raw.subscribe("a.b").await.unwrap();
    raw.publish("a.b", "it is subscribed".into()).await.unwrap();
    raw_reader.next().await.unwrap();
    let broker = open(&format!("{}?wire=bare", nats.url())).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    broker.publish(&numbered("a.b", 2)).await.unwrap();
    let received = reader.handle(2).await;
    assert_eq!(bodies(&received), ["0", "1"]);
    assert_eq!(received[0].source().as_str(), "/nats");
    assert_ne!(received[0].id(), received[1].id());
    let raw = raw_reader.next().await.unwrap();
    assert!(raw.headers.is_none() && &raw.payload[..] == b"0");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_group_gets_all_and_its_members_share() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut first = Reader::new(&broker, to("mail", "user.created")).await;
    let mut second = Reader::new(&broker, to("mail", "user.created")).await;
    let mut other = Reader::new(&broker, to("audit", "user.created")).await;
    let mut instances = [Reader::new(&broker, each("user.created")).await, Reader::new(&broker, each("user.created")).await];
    broker.publish(&numbered("user.created", 100)).await.unwrap();
    assert_eq!(other.handle(100).await.len(), 100);
    for instance in &mut instances {
        assert_eq!(instance.handle(100).await.len(), 100);
    }
    let mut seen = Vec::new();
    while seen.len() < 100 {
        tokio::select! {
            some = first.fetch(100) => seen.extend(some),
            some = second.fetch(100) => seen.extend(some),
        }
    }
    let mut seen: Vec<_> = seen.iter().map(|delivery| body(&delivery.message)).collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn overlapping_patterns_of_one_group_each_get_all() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut readers = Vec::new();
    for pattern in ["user.created", "user.*", "user.>", "*.created", ">"] {
        readers.push(Reader::new(&broker, to("mail", pattern)).await);
    }
    broker.publish(&numbered("user.created", 20)).await.unwrap();
    broker.publish(&[message("user.address.changed", "deep"), message("user", "alone")]).await.unwrap();
    for (reader, expected) in readers.iter_mut().zip([20, 20, 21, 20, 22]) {
        assert_eq!(reader.handle(expected).await.len(), expected);
    }
    broker.flush().await.unwrap();
    for reader in &mut readers {
        reader.assert_nothing(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_connection_publishes_after_a_subscribe_arrives() {
    let Some(nats) = Nats::start().await else { return };
    let (ours, theirs) = (open(&nats.url()).await, open(&nats.url()).await);
    for round in 0..200 {
        let topic = format!("round.{round}");
        let mut reader = Reader::new(&ours, to("mail", &topic)).await;
        theirs.publish(&[message(&topic, "x")]).await.unwrap();
        reader.handle(1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_again_here_not_earlier_and_with_its_attempts() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    broker.publish(&numbered("a.b", 1)).await.unwrap();
    let first = reader.take(1).await;
    reader.settle(&first, retry(Duration::ZERO)).await;
    let second = reader.take(1).await;
    assert_eq!((second[0].attempts, second[0].message.id()), (1, first[0].message.id()));
    let settled = Instant::now();
    reader.settle(&second, Outcome::Retry { after: Duration::from_millis(300), attempts: 2 }).await;
    let third = reader.take(1).await;
    assert!(settled.elapsed() >= Duration::from_millis(300));
    assert_eq!(third[0].attempts, 2);
    reader.settle(&third, Outcome::HandBack).await;
    let fourth = reader.take(1).await;
    assert_eq!(fourth[0].attempts, 2);
    reader.settle(&fourth, Outcome::Reject).await;
    reader.assert_nothing(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_than_agreed_are_unsettled() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut reader = Reader::new(&broker, tidings_core::Subscription { unsettled: 3, ..to("mail", "a.b") }).await;
    broker.publish(&numbered("a.b", 10)).await.unwrap();
    let in_hand = reader.take(3).await;
    reader.assert_nothing(Duration::from_millis(50)).await;
    reader.ack(&in_hand).await;
    assert_eq!(reader.fetch(10).await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_fetch_loses_nothing() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let mut seen = Vec::new();
    for batch in numbered("a.b", 1000).chunks(10) {
        broker.publish(batch).await.unwrap();
        if let Ok(fetched) = tokio::time::timeout(Duration::from_micros(50), reader.fetch(7)).await {
            seen.extend(fetched);
        }
    }
    seen.extend(reader.take(1000 - seen.len()).await);
    let numbers: Vec<_> = seen.iter().map(|delivery| body(&delivery.message).parse::<usize>().unwrap()).collect();
    assert!(numbers.into_iter().eq(0..1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_the_rest_goes() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let limit = broker.capabilities().max_message;
    let batch = [message("a.b", "0"), message("a.b", vec![0; limit]), message("a.b", "2")];
    let failures = broker.publish(&batch).await.unwrap_err().into_failed();
    assert_eq!(failures.len(), 1);
    assert!(matches!(&failures[0], (1, PublishError::TooLarge { size, limit: most, .. }) if size > most), "{failures:?}");
    assert_eq!(bodies(&reader.handle(2).await), ["0", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_client_drops_is_counted() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&format!("{}?buffer=10", nats.url())).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    broker.publish(&numbered("a.b", 30)).await.unwrap();
    let counted = || broker.counters().into_iter().find(|(name, _)| *name == "dropped").unwrap().1;
    eventually(SOON, async || counted() == 20).await;
    assert_eq!(reader.handle(10).await.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_over_the_bound_in_bytes_is_dropped_and_counted() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&format!("{}?buffer_bytes=64KiB", nats.url())).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let batch: Vec<_> = (0..30).map(|_| message("a.b", vec![7; 10 * 1024])).collect();
    broker.publish(&batch).await.unwrap();
    let counted = || broker.counters().into_iter().find(|(name, _)| *name == "dropped").unwrap().1;
    tokio::select! {
        fetched = reader.fetch.fetch(0) => panic!("{fetched:?} without room"),
        () = eventually(SOON, async || counted() == 24) => {}
    }
    assert_eq!(reader.handle(6).await, batch[..6]);
    broker.publish(&numbered("a.b", 30)).await.unwrap();
    assert_eq!(reader.handle(30).await.len(), 30);

    // A reader that has room, and is slower than what comes.
    broker.publish(&batch).await.unwrap();
    broker.flush().await.unwrap();
    assert_eq!(reader.handle(1).await, batch[..1]);
    assert_eq!(counted(), 24 + 23);
    broker.publish(&numbered("a.b", 30)).await.unwrap();
    broker.flush().await.unwrap();
    let waited = reader.handle(6).await;
    assert_eq!(waited, batch[1..7], "what waits comes before what came later");
    assert_eq!(bodies(&reader.handle(30).await), bodies(&numbered("a.b", 30)));

    broker.publish(&batch).await.unwrap();
    broker.flush().await.unwrap();
    assert_eq!(reader.handle(1).await.len(), 1);
    reader.fetch.close().await.unwrap();
    let abandoned = broker.counters().into_iter().find(|(name, _)| *name == "abandoned").unwrap().1;
    assert_eq!(abandoned, 6, "what waited when the subscription ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_at_a_close_is_counted() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    broker.publish(&numbered("a.b", 5)).await.unwrap();
    let two = reader.take(2).await;
    reader.ack(&two[..1]).await;
    reader.settle(&two[1..], retry(Duration::from_secs(60))).await;
    broker.flush().await.unwrap();
    let settle = reader.settle.clone();
    reader.close().await;
    assert_eq!(broker.counters().into_iter().find(|(name, _)| *name == "abandoned").unwrap().1, 4);
    assert!(settle.settle(&[(two[1].receipt, Outcome::Ack)]).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_ends_every_wait() {
    let Some(mut nats) = Nats::start().await else { return };
    for away in [false, true] {
        let broker = open(&nats.url()).await;
        let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
        let waiting = tokio::spawn(async move { reader.fetch.fetch(1).await.map(drop) });
        if away {
            nats.kill();
            eventually(SOON, async || matches!(broker.health(), Health::Down(_))).await;
        }
        let closed = tokio::time::timeout(Duration::from_secs(5), broker.close()).await.unwrap();
        assert_eq!(closed.is_err(), away);
        assert!(waiting.await.unwrap().unwrap_err().to_string().contains("closed"));
        let failure = broker.publish(&numbered("a.b", 1)).await.unwrap_err().into_failed().remove(0).1;
        assert!(matches!(failure, PublishError::Closed), "{failure}");
        assert!(broker.subscribe(to("mail", "a.b")).await.is_err() && broker.flush().await.is_err());
        broker.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_before_a_close_is_at_the_server() {
    let Some(nats) = Nats::start().await else { return };
    let (ours, theirs) = (open(&nats.url()).await, open(&nats.url()).await);
    let mut reader = Reader::new(&ours, to("mail", "a.b")).await;
    theirs.publish(&numbered("a.b", 5_000)).await.unwrap();
    theirs.close().await.unwrap();
    assert_eq!(reader.handle(5_000).await.len(), 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_not_begin_in_the_past() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let error = broker.subscribe(from(Start::First, to("mail", "a.b"))).await.err().unwrap().to_string();
    assert!(error.contains("nats") && error.contains("jetstream"), "{error}");
    assert!(broker.subscribe(from(Start::Now, to("mail", "a.b"))).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_another_world_is_read() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&nats.url()).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let raw = async_nats::connect(nats.url()).await.unwrap();
    raw.publish("a.b", "plain".into()).await.unwrap();
    let structured = r#"{"specversion":"1.0","id":"1","source":"/s","type":"a.b","data":{"n":1}}"#;
    raw.publish("a.b", structured.into()).await.unwrap();
    let received = reader.handle(2).await;
    assert_eq!((body(&received[0]).as_str(), received[0].source().as_str()), ("plain", "/nats"));
    assert_eq!((body(&received[1]).as_str(), received[1].id()), (r#"{"n":1}"#, &MessageId::new("1").unwrap()));
}
