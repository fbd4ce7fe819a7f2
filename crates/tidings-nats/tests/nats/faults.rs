//! `jetstream://` when connections break and servers die.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use crate::common::{Reader, SOON, body, numbered, open, to};
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
