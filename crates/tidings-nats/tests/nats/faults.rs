//! `jetstream://` when connections break and servers die.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::common::{Reader, SOON, body, message, numbered, open, to};
use tidings_core::{Health, PublishError};
use tidings_testing::servers::{Nats, Proxy, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_server_is_killed_while_messages_flow() {
    let Some(mut nats) = Nats::with_jetstream().await else { return };
    let (publisher, subscriber) = (open(&nats.jetstream_url()).await, open(&nats.jetstream_url()).await);
    let mut reader = Reader::new(&subscriber, to("mail", "a.b")).await;
    let all = numbered("a.b", 10_000);
    let expected: BTreeSet<_> = all.iter().map(body).collect();
    let publishing = tokio::spawn(async move {
        for batch in all.chunks(100) {
            let mut left = batch.to_vec();
            while let Err(failures) = publisher.publish(&left).await {
                let failed = failures.into_failed();
                assert!(failed.iter().all(|(_, error)| error.is_transient()), "{failed:?}");
                left = failed.into_iter().map(|(place, _)| left[place].clone()).collect();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let handling = tokio::spawn(async move { reader.handle_all(expected).await });
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        nats.kill();
        nats.restart().await;
    }
    tokio::time::timeout(4 * SOON, publishing).await.unwrap().unwrap();
    tokio::time::timeout(4 * SOON, handling).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn order_holds_over_a_cut_connection() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let proxy = Proxy::start(nats.address()).await;
    let weak = open(&proxy.instead_of(&nats.jetstream_url())).await;
    let mut reader = Reader::new(&weak, to("mail", "a.b")).await;
    broker.publish(&numbered("a.b", 6)).await.unwrap();
    let one = reader.take(1).await;
    reader.ack(&one).await;
    reader.take(1).await;
    // Five are the server's again, or will be when their lease ends.
    proxy.cut();
    proxy.heal();
    broker.publish(&[message("a.b", "6"), message("a.b", "7")]).await.unwrap();
    let mut latest = Vec::new();
    while latest.last() != Some(&7) {
        let batch = reader.fetch(10).await;
        latest.extend(batch.iter().map(|delivery| body(&delivery.message).parse::<usize>().unwrap()));
        reader.ack(&batch).await;
    }
    // What was in hand at the cut may be acknowledged still; what follows is in order.
    assert!(latest.is_sorted() && latest.iter().filter(|number| **number >= 2).eq([2, 3, 4, 5, 6, 7].iter()), "{latest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_holds_nothing_goes_on_at_once() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let proxy = Proxy::start(nats.address()).await;
    let broker = open(&proxy.instead_of(&nats.jetstream_url())).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    reader.assert_nothing(Duration::from_millis(50)).await;
    proxy.cut();
    proxy.heal();
    eventually(SOON, async || matches!(broker.health(), Health::Down(_)) || proxy.connections() > 1).await;
    let cut = Instant::now();
    let batch = numbered("a.b", 10);
    eventually(SOON, async || broker.publish(&batch).await.is_ok()).await;
    reader.handle(10).await;
    assert!(cut.elapsed() < reader.settle.lease().unwrap(), "{:?}", cut.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crashed_instance_is_replaced_after_its_lease() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 5)).await.unwrap();
    let mut crashed = Reader::new(&broker, to("mail", "a.b")).await;
    let taken = crashed.take(3).await;
    assert_eq!(taken.len(), 3);
    drop(crashed);
    let mut next = Reader::new(&broker, to("mail", "a.b")).await;
    let received: Vec<_> = next.handle(5).await.iter().map(body).collect();
    assert_eq!(received, ["0", "1", "2", "3", "4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_while_the_server_is_away() {
    let Some(mut nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 3)).await.unwrap();
    nats.kill();
    let killed = Instant::now();
    eventually(SOON, async || matches!(broker.health(), Health::Down(_))).await;
    let failures = broker.publish(&numbered("a.b", 3)).await.unwrap_err().into_failed();
    assert!(failures.len() == 3 && failures.iter().all(|(_, error)| error.is_transient()), "{failures:?}");
    assert!(broker.subscribe(to("mail", "a.b")).await.err().unwrap().is_transient());
    assert!(killed.elapsed() < SOON);
    nats.restart().await;
    eventually(SOON, async || broker.health() == Health::Up).await;
    broker.publish(&numbered("a.b", 3)).await.unwrap();
    assert_eq!(Reader::new(&broker, to("mail", "a.b")).await.handle(6).await.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_does_not_come_is_a_failure_in_time() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let proxy = Proxy::start(nats.address()).await;
    let broker = open(&format!("{}?timeout=500ms&window=4", proxy.instead_of(&nats.jetstream_url()))).await;
    broker.publish(&numbered("a.b", 1)).await.unwrap();
    proxy.throttle(0);
    let batch = numbered("a.b", 10);
    let failures = tokio::time::timeout(Duration::from_secs(5), broker.publish(&batch)).await.unwrap().unwrap_err().into_failed();
    let places: Vec<_> = failures.iter().map(|(place, _)| *place).collect();
    assert!(places.into_iter().eq(0..10));
    proxy.heal();
    // Sent once more they are recognised: nothing comes twice.
    eventually(SOON, async || broker.publish(&batch).await.is_ok()).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    assert_eq!(reader.handle(11).await.len(), 11);
    reader.assert_nothing(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_ends_every_wait() {
    let Some(mut nats) = Nats::with_jetstream().await else { return };
    for away in [false, true] {
        let broker = open(&nats.jetstream_url()).await;
        let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
        let settle = reader.settle.clone();
        let waiting = tokio::spawn(async move { reader.fetch.fetch(1).await.map(drop) });
        if away {
            nats.kill();
            eventually(SOON, async || matches!(broker.health(), Health::Down(_))).await;
        }
        let closed = tokio::time::timeout(Duration::from_secs(5), broker.close()).await.unwrap();
        assert_eq!(closed.is_err(), away);
        let ended = tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap();
        assert!(ended.unwrap_err().to_string().contains("closed"));
        let failure = broker.publish(&numbered("a.b", 1)).await.unwrap_err().into_failed().remove(0).1;
        assert!(matches!(failure, PublishError::Closed), "{failure}");
        assert!(settle.settle(&[]).await.is_err() && broker.subscribe(to("mail", "a.b")).await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_closes_in_time_while_the_server_is_away() {
    let Some(mut nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("a.b", 3)).await.unwrap();
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    reader.take(1).await;
    nats.kill();
    eventually(SOON, async || matches!(broker.health(), Health::Down(_))).await;
    let closed = tokio::time::timeout(Duration::from_secs(5), reader.fetch.close()).await.unwrap();
    assert!(closed.unwrap_err().is_transient());
}
