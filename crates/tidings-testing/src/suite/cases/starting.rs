//! Where a group begins, and that it has begun when it says so.

use std::time::SystemTime;

use tidings_core::BrokerError;

use super::prelude::*;

fn from(start: Option<Start>, group: &str) -> Subscription {
    Subscription { start, ..subscription(group, "t") }
}

pub(super) async fn a_new_group_gets_what_was_kept(place: Place) {
    let broker = place.open().await;
    publish(&*broker, &numbered("t", 100)).await;
    let mut readers = Vec::new();
    for (group, start) in [("first", Some(Start::First)), ("default", None)] {
        readers.push(subscribe_with(&*broker, from(start, group)).await);
    }
    publish(&*broker, &[message("t", "100")]).await;
    for reader in &mut readers {
        assert_eq!(reader.read(101).await, numbers(0, 101));
    }
}

pub(super) async fn a_new_group_can_begin_at_a_time(place: Place) {
    // The clocks of a server and of this process may be apart by less.
    const APART: Duration = Duration::from_millis(50);
    let broker = place.open().await;
    publish(&*broker, &[message("t", "before")]).await;
    tokio::time::sleep(APART).await;
    let between = SystemTime::now();
    tokio::time::sleep(APART).await;
    publish(&*broker, &numbered("t", 10)).await;
    let mut reader = subscribe_with(&*broker, from(Some(Start::At(between)), "g")).await;
    assert_eq!(reader.read(10).await, numbers(0, 10));
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn a_group_that_begins_now_gets_nothing_older(place: Place) {
    let broker = place.open().await;
    publish(&*broker, &numbered("t", 10)).await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn a_start_that_cannot_be_is_refused(place: Place) {
    let broker = place.open().await;
    for start in [Start::First, Start::At(SystemTime::now())] {
        let refused = within(broker.subscribe(from(Some(start), "g"))).await.map(drop).unwrap_err();
        assert!(matches!(refused, BrokerError::Unsupported { .. }), "{refused}");
    }
}

pub(super) async fn what_is_published_right_after_subscribing_by_another_opening_arrives(place: Place) {
    let (publisher, subscriber) = (place.open().await, place.open().await);
    for round in 0..20 {
        let topic = format!("t.{round}");
        let mut reader = subscribe(&*subscriber, "g", &topic).await;
        publish(&*publisher, &[message(&topic, "0")]).await;
        assert_eq!(reader.read(1).await, ["0"]);
    }
}

pub(super) async fn subscribes_that_were_given_up_leave_nothing_behind(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    for round in 0..20 {
        let asked = broker.subscribe(subscription("g", "t"));
        let answered = tokio::time::timeout(Duration::from_micros(round * 50), asked).await;
        if let Ok(subscribed) = answered {
            within(subscribed.unwrap().0.close()).await.unwrap();
        }
    }
    // A member that was left behind would get a share of these.
    publish(&*broker, &(0..100).map(|n| keyed("t", &n.to_string(), &n.to_string())).collect::<Vec<_>>()).await;
    assert_eq!(as_set(&reader.read(100).await).len(), 100);
    reader.is_drained(&*broker, "t").await;
}
