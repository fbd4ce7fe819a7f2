//! What a fetch brings, how much of it, and what becomes of one that is given up.

use super::prelude::*;

const A_WHILE: Duration = Duration::from_millis(300);

pub(super) async fn no_more_is_delivered_than_was_asked_for(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 50)).await;
    let mut came = Vec::new();
    for max in [1, 7, 3, 20, 19] {
        // `take` and `next` check what one fetch brings.
        came.extend(bodies(&reader.take(max).await));
    }
    assert_eq!(came, numbers(0, 50));
}

pub(super) async fn no_more_is_unsettled_than_was_allowed(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe_with(&*broker, Subscription { unsettled: 10, ..subscription("g", "t") }).await;
    publish(&*broker, &numbered("t", 20)).await;
    let held = reader.take(10).await;
    reader.brings_nothing(100, A_WHILE).await;
    reader.end(&held[..3], Outcome::Ack).await;
    let mut next = Vec::new();
    while next.len() < 3 {
        next.extend(bodies(&reader.next(100).await));
    }
    assert_eq!(next, numbers(10, 13));
    reader.brings_nothing(100, A_WHILE).await;
}

pub(super) async fn without_a_settlement_there_is_no_next_one(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe_with(&*broker, Subscription { unsettled: 1, ..subscription("g", "t") }).await;
    publish(&*broker, &numbered("t", 3)).await;
    for n in 0..3 {
        let held = reader.take(1).await;
        assert_eq!(body(&held[0]), n.to_string());
        reader.brings_nothing(100, A_WHILE).await;
        reader.end(&held, Outcome::Ack).await;
    }
}

pub(super) async fn a_fetch_for_nothing_brings_nothing(place: Place) {
    let broker = place.open().await;
    let mut idle = subscribe(&*broker, "g", "t").await;
    let mut busy = subscribe(&*broker, "g", "t").await;
    let waiting = tokio::spawn(async move {
        let came = tokio::time::timeout(Duration::from_secs(1), idle.fetch.fetch(0)).await;
        assert!(came.is_err(), "{came:?}");
    });
    for round in 0..20 {
        publish(&*broker, &[message("t", &round.to_string())]).await;
        assert_eq!(busy.read(1).await, [round.to_string()]);
    }
    waiting.await.unwrap();
}

pub(super) async fn fetches_that_were_given_up_lose_nothing(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move {
        for batch in numbered("t", 200).chunks(4) {
            publish(&*publisher, batch).await;
        }
    });
    let mut came = Vec::new();
    within(async {
        for patience in (0..3_000).step_by(37).cycle() {
            let fetched = tokio::time::timeout(Duration::from_micros(patience), reader.fetch.fetch(7)).await;
            if let Ok(Ok(Fetched::Deliveries(deliveries))) = fetched {
                reader.end(&deliveries, Outcome::Ack).await;
                came.extend(bodies(&deliveries));
            }
            if came.len() >= 200 {
                break;
            }
        }
    })
    .await;
    assert_eq!(came, numbers(0, 200));
    publishing.await.unwrap();
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn a_fetch_that_was_given_up_takes_nothing_from_the_others(place: Place) {
    let broker = place.open().await;
    let mut fickle = subscribe(&*broker, "g", "t").await;
    let mut steady = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move {
        for message in numbered("t", 50) {
            publish(&*publisher, &[message]).await;
        }
    });
    let mut came = Vec::new();
    for patience in 0..50 {
        let fetched = tokio::time::timeout(Duration::from_micros(patience * 40), fickle.fetch.fetch(7)).await;
        if let Ok(Ok(Fetched::Deliveries(deliveries))) = fetched {
            fickle.end(&deliveries, Outcome::Ack).await;
            came.extend(bodies(&deliveries));
        }
    }
    publishing.await.unwrap();
    // From here on only the other one asks.
    while came.len() < 50 {
        let next = steady.next(50).await;
        steady.end(&next, Outcome::Ack).await;
        came.extend(bodies(&next));
    }
    assert_eq!((came.len(), as_set(&came).len()), (50, 50));
    // What it had after all would come back.
    fickle.close().await;
    steady.is_drained(&*broker, "t").await;
}

pub(super) async fn settling_goes_on_while_a_fetch_waits(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    let held = reader.take(1).await;
    let settle = Arc::clone(&reader.settle);
    let waiting = tokio::spawn(async move { reader.take(1).await });
    within(settle.settle(&[(held[0].receipt, Outcome::HandBack)])).await.unwrap();
    let again = waiting.await.unwrap();
    assert_eq!(body(&again[0]), "0");
    assert!(again[0].deliveries.is_none_or(|count| count == 2), "{:?}", again[0].deliveries);
}
