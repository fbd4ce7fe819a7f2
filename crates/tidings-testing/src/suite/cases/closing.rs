//! A close: what it keeps, what it gives back, and that everything ends.

use tidings_core::{BrokerError, Health, PublishError};

use super::prelude::*;

pub(super) async fn a_group_goes_on_where_it_left_off(place: Place) {
    let broker = place.open().await;
    let mut came = Vec::new();
    let mut reader = subscribe(&*broker, "g", "t").await;
    for round in 0..5 {
        let batch: Vec<_> = (0..20).map(|n| message("t", &(round * 20 + n).to_string())).collect();
        publish(&*broker, &batch).await;
        came.extend(reader.read(15).await);
        reader.close().await;
        reader = subscribe(&*broker, "g", "t").await;
    }
    came.extend(reader.read(25).await);
    assert_eq!(came, numbers(0, 100));
}

pub(super) async fn what_is_published_while_every_instance_is_away_waits(place: Place) {
    let broker = place.open().await;
    subscribe(&*broker, "g", "t").await.close().await;
    publish(&*broker, &numbered("t", 50)).await;
    assert_eq!(subscribe(&*broker, "g", "t").await.read(50).await, numbers(0, 50));
}

pub(super) async fn closing_a_subscription_counts_what_was_settled_and_gives_back_the_rest_in_order(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut first = subscribe(&*one, "g", "t").await;
    publish(&*one, &numbered("t", 10)).await;
    let held = first.take(8).await;
    first.end(&held[..4], Outcome::Ack).await;
    first.close().await;
    let mut second = subscribe(&*other, "g", "t").await;
    assert_eq!(second.read(6).await, numbers(4, 10));
    second.is_drained(&*one, "t").await;
}

pub(super) async fn closing_ends_every_pending_future(place: Place) {
    let broker = place.open().await;
    let mut waiting = Vec::new();
    for max in [0, 1, 100] {
        let mut reader = subscribe(&*broker, &format!("g{max}"), "t").await;
        waiting.push(tokio::spawn(async move { reader.fetch.fetch(max).await }));
    }
    tokio::task::yield_now().await;
    tokio::time::timeout(CLOSED_WITHIN, broker.close()).await.unwrap().unwrap();
    for fetch in waiting {
        let ended = tokio::time::timeout(CLOSED_WITHIN, fetch).await.unwrap().unwrap();
        assert!(matches!(ended, Err(BrokerError::Closed { .. })), "{ended:?}");
    }
}

pub(super) async fn a_closed_broker_refuses_everything(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    reader.take(1).await;
    assert_eq!(broker.health(), Health::Up);
    within(broker.close()).await.unwrap();
    within(broker.close()).await.unwrap();
    let refused = within(broker.publish(&numbered("t", 2))).await.unwrap_err();
    assert_eq!(refused.failed().len(), 2);
    assert!(refused.failed().iter().all(|(_, why)| matches!(why, PublishError::Closed)));
    let closed = |error: BrokerError| assert!(matches!(error, BrokerError::Closed { .. }), "{error}");
    closed(within(broker.subscribe(subscription("g", "t"))).await.map(drop).unwrap_err());
    closed(within(broker.flush()).await.unwrap_err());
    closed(within(reader.fetch.fetch(1)).await.unwrap_err());
    assert!(matches!(broker.health(), Health::Down(_)));
}

pub(super) async fn a_closed_broker_settles_nothing(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    let held = reader.take(1).await;
    within(broker.close()).await.unwrap();
    let closed = |error: BrokerError| assert!(matches!(error, BrokerError::Closed { .. }), "{error}");
    closed(within(reader.settle.settle(&[(held[0].receipt, Outcome::Ack)])).await.unwrap_err());
    closed(within(reader.settle.extend(&[held[0].receipt])).await.unwrap_err());
    assert_eq!(subscribe(&*place.open().await, "g", "t").await.read(1).await, ["0"]);
}

pub(super) async fn closing_one_opening_leaves_the_others_alone(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut closing = subscribe(&*one, "g", "t").await;
    let mut staying = subscribe(&*other, "g", "t").await;
    publish(&*other, &numbered("t", 10)).await;
    let _held = closing.take(5).await;
    within(one.close()).await.unwrap();
    let mut came = staying.read(10).await;
    came.sort_by_key(|body| body.parse::<usize>().unwrap());
    assert_eq!(came, numbers(0, 10));
    staying.is_drained(&*other, "t").await;
}

pub(super) async fn closing_under_load_ends_every_publish(place: Place) {
    let (busy, other) = (place.open().await, place.open().await);
    let mut reader = subscribe(&*other, "g", "t").await;
    let mut publishing = Vec::new();
    for task in 0..4 {
        let broker = Arc::clone(&busy);
        publishing.push(tokio::spawn(async move {
            let mut taken = Vec::new();
            for n in 0.. {
                let one = task * 1_000_000 + n;
                match broker.publish(&[message("t", &one.to_string())]).await {
                    Ok(()) => taken.push(one),
                    Err(failures) => {
                        assert!(failures.failed()[0].1.is_transient(), "{failures}");
                        break;
                    }
                }
            }
            taken
        }));
    }
    let mut came = Ledger::default();
    came.note_bodies(reader.read(100).await);
    tokio::time::timeout(CLOSED_WITHIN, busy.close()).await.unwrap().unwrap();
    let mut taken = BTreeSet::new();
    for task in publishing {
        taken.extend(within(task).await.unwrap().iter().map(ToString::to_string));
    }
    // What was acknowledged is there; what was not may be.
    taken.retain(|body| !came.has(body));
    while !taken.is_empty() {
        for body in reader.read(1).await {
            taken.remove(&body);
            came.note_bodies([body]);
        }
    }
    assert_eq!(came.again(), 0);
}
