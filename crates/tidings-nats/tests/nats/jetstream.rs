//! `jetstream://` against a real server: publishing, subscribing, settling.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    common::{Reader, bodies, body, chain, each, from, message, numbered, open, retry, to},
    streams::api,
};
use serde_json::Value;
use tidings_core::{Broker, Headers, Key, Outcome, PublishError, Start, Topic, TraceContext};
use tidings_testing::servers::Nats;

#[tokio::test(flavor = "multi_thread")]
async fn a_message_comes_as_it_was_published() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let mut headers = Headers::new();
    for (name, value) in [("a", "2"), ("a", "1"), ("b", "100% ünicode")] {
        headers.append(name, value).unwrap();
    }
    let full = message("user.created", vec![0xff, 0, b'\r', b'\n'])
        .into_builder()
        .key(Key::new("ünique key").unwrap())
        .time(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
        .content_type("application/octet-stream")
        .trace(TraceContext::start().with_state("v=1"))
        .headers(headers)
        .build();
    let limit = broker.capabilities().max_message;
    let batch = [full, message("user.created", ""), message("user.created", "1"), message("user.created", vec![7; limit - 1024])];
    broker.publish(&batch).await.unwrap();
    let mut reader = Reader::new(&broker, to("mail", "user.created")).await;
    assert_eq!(reader.handle(4).await, batch);
    reader.assert_nothing(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_says_nothing_is_named_by_its_place() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&format!("{}?wire=bare", nats.jetstream_url())).await;
    let bare = numbered("a.b", 2);
    for _ in 0..2 {
        broker.publish(&bare).await.unwrap();
    }
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let first = reader.one().await;
    assert_eq!((first.message.source().as_str(), first.message.id().to_string().as_str()), ("/jetstream/TIDINGS", "TIDINGS:1"));
    reader.settle(std::slice::from_ref(&first), retry(Duration::ZERO)).await;
    let mut ids = [reader.one().await, reader.one().await].map(|delivery| delivery.message.id().to_string());
    ids.sort();
    assert_eq!(ids, ["TIDINGS:1", "TIDINGS:2"]);
    // The second publish was recognised by what the sender knew it as.
    reader.assert_nothing(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_counts_as_acknowledged() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let batch = numbered("a.b", 100);
    for _ in 0..3 {
        broker.publish(&batch).await.unwrap();
    }
    // An event and its dead letter share the id, and both arrive.
    let dead = batch[0].clone().into_builder().topic(Topic::from_wire("dead.mail.a.b").unwrap()).dedup_id("dead mail 1").build();
    broker.publish(&[dead]).await.unwrap();
    assert_eq!(broker.counters()[0], ("duplicates", 200));
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    assert_eq!(reader.handle(100).await, batch);
    reader.assert_nothing(Duration::from_millis(50)).await;
    Reader::new(&broker, to("ops", "dead.>")).await.handle(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_group_gets_all_and_its_members_share() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let mut first = Reader::new(&broker, to("mail", "user.created")).await;
    let mut second = Reader::new(&broker, to("mail", "user.created")).await;
    let mut instances = [Reader::new(&broker, each("user.created")).await, Reader::new(&broker, each("user.created")).await];
    broker.publish(&numbered("user.created", 500)).await.unwrap();
    // A new group begins with the first message that is kept.
    assert_eq!(Reader::new(&broker, to("audit", "user.created")).await.handle(500).await.len(), 500);
    for instance in &mut instances {
        assert_eq!(instance.handle(500).await.len(), 500);
    }
    let (mut seen, mut by_second) = (Vec::new(), 0);
    while seen.len() < 500 {
        let batch = tokio::select! {
            some = first.fetch(5) => { first.ack(&some).await; some }
            some = second.fetch(5) => { second.ack(&some).await; by_second += some.len(); some }
        };
        seen.extend(batch.iter().map(|delivery| body(&delivery.message)));
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 500);
    assert!(by_second > 0 && by_second < 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_take_what_they_name() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let topics = ["user.created", "user.address.changed", "order.created", "user", "dead.mail.user.created"];
    let batch: Vec<_> =
        topics.iter().map(|topic| message("x", *topic).into_builder().topic(Topic::from_wire(*topic).unwrap()).build()).collect();
    broker.publish(&batch).await.unwrap();
    for (pattern, expected) in [
        ("user.created", &["user.created"][..]),
        ("user.*", &["user.created"]),
        ("user.>", &["user.created", "user.address.changed"]),
        ("*.created", &["user.created", "order.created"]),
        (">", &["user.created", "user.address.changed", "order.created", "user"]),
        ("user", &["user"]),
        ("dead.>", &["dead.mail.user.created"]),
    ] {
        let mut reader = Reader::new(&broker, to("group", pattern)).await;
        let received = reader.handle(expected.len()).await;
        assert_eq!(bodies(&received), expected, "{pattern}");
        assert!(received.iter().all(|message| message.topic().as_str() == body(message)));
        reader.assert_nothing(Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_begins_where_it_says() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&[message("a.b", "old")]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let between = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    broker.publish(&[message("a.b", "new")]).await.unwrap();
    let mut first = Reader::new(&broker, from(Start::First, to("first", "a.b"))).await;
    let mut since = Reader::new(&broker, from(Start::At(between), to("since", "a.b"))).await;
    let mut now = Reader::new(&broker, from(Start::Now, to("now", "a.b"))).await;
    broker.publish(&[message("a.b", "newest")]).await.unwrap();
    assert_eq!(bodies(&first.handle(3).await), ["old", "new", "newest"]);
    assert_eq!(bodies(&since.handle(2).await), ["new", "newest"]);
    assert_eq!(bodies(&now.handle(1).await), ["newest"]);
    assert!(broker.subscribe(from(Start::First, each("a.b"))).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_comes_again_not_earlier_and_with_its_attempts() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 1)).await.unwrap();
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let first = reader.take(1).await;
    assert_eq!((first[0].attempts, first[0].deliveries), (0, Some(1)));
    reader.settle(&first, retry(Duration::ZERO)).await;
    let second = reader.take(1).await;
    assert_eq!((second[0].attempts, second[0].deliveries), (1, Some(2)));
    let settled = Instant::now();
    reader.settle(&second, Outcome::Retry { after: Duration::from_secs(2), attempts: 2 }).await;
    let third = reader.take(1).await;
    assert!(settled.elapsed() >= Duration::from_secs(2), "{:?}", settled.elapsed());
    assert_eq!(third[0].attempts, 2);
    reader.settle(&third, Outcome::Reject).await;
    reader.settle(&third, Outcome::Ack).await;
    reader.assert_nothing(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_lease_is_not_lost_and_one_that_is_not_kept_is() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 2)).await.unwrap();
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let both = reader.take(2).await;
    let lease = reader.settle.lease().unwrap();
    let (kept, left) = (both[0].receipt, both[1].receipt);
    let (mut lost, mut again) = (false, None);
    let until = Instant::now() + lease + lease / 2;
    while Instant::now() < until {
        assert_eq!(reader.settle.extend(&[kept]).await.unwrap(), []);
        match tokio::time::timeout(lease / 5, reader.fetch.fetch(10)).await {
            Ok(Ok(tidings_core::Fetched::Lost(receipts))) => lost |= receipts == [left],
            Ok(Ok(tidings_core::Fetched::Deliveries(mut deliveries))) => again = deliveries.pop(),
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    let again = again.expect("the message whose lease ended");
    assert!(lost && again.message.id() == both[1].message.id());
    reader.ack(&[both[0].clone(), again]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_lost_by_our_own_clock() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 1)).await.unwrap();
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let one = reader.one().await;
    let Reader { fetch, settle } = reader;
    drop(fetch);
    tokio::time::sleep(settle.lease().unwrap()).await;
    assert_eq!(settle.extend(&[one.receipt]).await.unwrap(), [one.receipt]);
    assert_eq!(settle.extend(&[one.receipt]).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_settled_at_a_close_comes_again_in_order() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 1000)).await.unwrap();
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    let some = reader.take(100).await;
    reader.ack(&some[..50]).await;
    // A hundred more wait here unseen.
    reader.settle(&some[90..], Outcome::HandBack).await;
    reader.settle(&some[50..60], Outcome::HandBack).await;
    let began = Instant::now();
    reader.close().await;
    let mut next = Reader::new(&broker, to("mail", "a.b")).await;
    let rest: Vec<usize> = bodies(&next.handle(950).await).iter().map(|body| body.parse().unwrap()).collect();
    assert!(rest.into_iter().eq(50..1000));
    assert!(began.elapsed() < next.settle.lease().unwrap());
    next.assert_nothing(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_handed_back_goes_to_another_instance() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 3)).await.unwrap();
    let mut first = Reader::new(&broker, to("mail", "a.b")).await;
    let all = first.take(3).await;
    first.ack(&all[..1]).await;
    first.settle(&all[1..], Outcome::HandBack).await;
    first.close().await;
    let mut second = Reader::new(&broker, to("mail", "a.b")).await;
    assert_eq!(bodies(&second.handle(2).await), ["1", "2"]);
    // While it fetches on it may have them back itself.
    broker.publish(&[message("a.b", "3")]).await.unwrap();
    let last = second.take(1).await;
    second.settle(&last, Outcome::HandBack).await;
    let again = second.take(1).await;
    assert_eq!((body(&again[0].message), again[0].attempts), ("3".to_owned(), 0));
    second.ack(&again).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_settled_before_a_close_is_not_handled_again() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 2000)).await.unwrap();
    for part in [0..1200, 1200..2000] {
        let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
        let mut left = part.len();
        while left > 0 {
            left -= reader.handle(left.min(64)).await.len();
        }
        reader.close().await;
    }
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    reader.assert_nothing(Duration::from_millis(100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_come_than_were_asked_for() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 10)).await.unwrap();
    let mut slow = Reader::new(&broker, to("mail", "a.b")).await;
    let first = slow.take(1).await;
    let waiting = tokio::time::timeout(Duration::from_millis(50), slow.fetch.fetch(0)).await;
    assert!(waiting.is_err());
    // Nothing was prefetched that another instance could have had.
    let mut other = Reader::new(&broker, to("mail", "a.b")).await;
    slow.ack(&first).await;
    assert_eq!(other.handle(9).await.len(), 9);
}

/// One that has handled so much that it asks far ahead.
async fn fast_reader(broker: &Arc<dyn Broker>) -> Reader {
    let mut fast = Reader::new(broker, to("mail", "a.b")).await;
    for _ in 0..20 {
        broker.publish(&numbered("a.b", 500)).await.unwrap();
        fast.handle(500).await;
    }
    fast
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_does_not_look_at_goes_to_others() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let mut fast = fast_reader(&broker).await;
    // It was fast, and so has asked for more than it takes now: it is stuck, and keeps its membership only.
    broker.publish(&numbered("a.b", 500)).await.unwrap();
    let one = fast.take(1).await;
    let stuck = tokio::spawn(async move {
        let nothing = fast.fetch.fetch(0).await;
        panic!("{nothing:?} of {}", one.len());
    });
    let mut other = Reader::new(&broker, to("mail", "a.b")).await;
    assert_eq!(other.handle(499).await.len(), 499);
    stuck.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_behind_small_ones_are_not_asked_for_by_their_number_alone() {
    const LARGE: usize = 900 * 1024;
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let mut fast = fast_reader(&broker).await;
    let large: Vec<_> = (0..100).map(|_| message("a.b", vec![7; LARGE])).collect();
    broker.publish(&large).await.unwrap();
    let first = fast.take(1).await;
    let consumers = async || api(&nats, "CONSUMER.LIST.TIDINGS", Value::Null).await;
    let on_their_way = async || consumers().await["consumers"][0]["num_ack_pending"].as_u64().unwrap();
    let mut settled = 0;
    while settled < 10 {
        // As a loop whose handlers are all busy.
        let nothing = tokio::time::timeout(Duration::from_millis(20), fast.fetch.fetch(0)).await;
        assert!(nothing.is_err(), "{nothing:?}");
        let waiting = on_their_way().await;
        // Two requests of 32 MiB at the most.
        assert!(waiting <= 75, "{waiting} of {LARGE} bytes");
        settled += u64::from(waiting > 20);
    }
    fast.ack(&first).await;
    assert_eq!(fast.handle(99).await.len(), 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_names_exactly_what_was_not_taken() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&format!("{}?max_bytes=64KiB", nats.jetstream_url())).await;
    let limit = broker.capabilities().max_message;
    let mut batch = numbered("a.b", 3);
    batch.insert(1, message("a.b", vec![0; limit]));
    let failures = broker.publish(&batch).await.unwrap_err().into_failed();
    assert!(failures.len() == 1 && matches!(failures[0], (1, PublishError::TooLarge { .. })), "{failures:?}");
    // The stream is full: what was acknowledged stays, the rest is refused for now.
    let large: Vec<_> = (0..10).map(|_| message("a.b", vec![1; 10_000])).collect();
    let failures = broker.publish(&large).await.unwrap_err().into_failed();
    assert!(failures.len() >= 4 && failures.iter().all(|(_, error)| error.is_transient()), "{failures:?}");
    assert!(chain(&failures[0].1).contains("full"), "{}", chain(&failures[0].1));
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    assert_eq!(reader.handle(3 + large.len() - failures.len()).await.len(), 13 - failures.len());
    // Dead letters still fit in.
    let dead = message("x", "1").into_builder().topic(Topic::from_wire("dead.mail.a.b").unwrap()).build();
    broker.publish(&[dead]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_publish_at_once_through_one_window() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&format!("{}?window=16", nats.jetstream_url())).await;
    let publishers = (0..20).map(|publisher| {
        let broker = broker.clone();
        tokio::spawn(async move {
            let batch = numbered(&format!("p{publisher}.x"), 100);
            broker.publish(&batch).await.unwrap();
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let mut all = Reader::new(&broker, to("mail", ">")).await;
    assert_eq!(all.handle(2000).await.len(), 2000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_publish_blocks_nobody() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&format!("{}?window=8", nats.jetstream_url())).await;
    let batch = numbered("a.b", 64);
    for micros in 0..50 {
        let _ = tokio::time::timeout(Duration::from_micros(micros * 20), broker.publish(&batch)).await;
    }
    broker.publish(&batch).await.unwrap();
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    assert_eq!(reader.handle(64).await.len(), 64);
}
