//! What becomes of a message when it is settled, or is not.

use std::time::Instant;

use super::prelude::*;

pub(super) async fn a_dropped_subscription_gives_back_what_it_held(place: Place) {
    let broker = place.open().await;
    let mut first = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 20)).await;
    let held = first.take(10).await;
    first.end(&held[3..6], Outcome::Ack).await;
    drop(first);
    let dropped = Instant::now();
    let mut second = subscribe(&*broker, "g", "t").await;
    let again = second.take(17).await;
    place.figures().back(dropped.elapsed());
    let expected: Vec<_> = (0..20).filter(|n| !(3..6).contains(n)).map(|n| n.to_string()).collect();
    assert_eq!(bodies(&again), expected);
    place.figures().again(0);
    for (n, count) in [(0, 2), (16, 1)] {
        let (counted, attempts) = (again[n].deliveries, again[n].attempts);
        assert!(counted.is_none_or(|counted| counted == count), "{n}: {counted:?} deliveries, not {count}");
        assert_eq!(attempts, 0, "{n}");
    }
}

pub(super) async fn a_retry_comes_again_not_earlier_than_asked_and_not_much_later(place: Place) {
    // No whole seconds: nats-server 2.9 mislays what is to come again while a request for it expires, and doubles the newest message;
    // on JetStream requests are for a second each.
    const WAIT: Duration = Duration::from_millis(2_500);
    const LATEST: Duration = Duration::from_millis(4_000);
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 10)).await;
    let mut held = reader.take(10).await;
    let late = held.remove(4);
    let begun = Instant::now();
    reader.end(&[late], retry(WAIT, 1)).await;
    reader.end(&held, Outcome::Ack).await;
    let again = reader.take(1).await;
    let waited = begun.elapsed();
    assert!((WAIT..=LATEST).contains(&waited), "it was to wait for {WAIT:?}, and came after {waited:?}");
    assert_eq!((body(&again[0]).as_str(), again[0].attempts), ("4", 1));
}

pub(super) async fn a_retry_at_once_comes_again_at_once(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 3)).await;
    let held = reader.take(2).await;
    reader.end(&held[..1], retry(Duration::ZERO, 1)).await;
    let mut next: Vec<_> = reader.take(2).await.iter().map(|delivery| (body(delivery), delivery.attempts)).collect();
    next.sort_unstable();
    assert_eq!(next, [("0".to_owned(), 1), ("2".to_owned(), 0)]);
}

pub(super) async fn attempts_rise_and_handing_back_is_none(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    for attempt in 0..4 {
        let held = reader.take(1).await;
        assert_eq!(held[0].attempts, attempt);
        reader.end(&held, retry(Duration::ZERO, attempt + 1)).await;
        let held = reader.take(1).await;
        assert_eq!(held[0].attempts, attempt + 1);
        let counted = held[0].deliveries;
        assert!(counted.is_none_or(|count| count == attempt * 2 + 2), "{counted:?} deliveries, {attempt} attempts before");
        reader.end(&held, Outcome::HandBack).await;
    }
}

pub(super) async fn another_instance_knows_of_the_attempts(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut first = subscribe(&*one, "g", "t").await;
    publish(&*one, &numbered("t", 2)).await;
    let held = first.take(2).await;
    first.end(&held[..1], retry(Duration::ZERO, 1)).await;
    first.end(&held[1..], retry(Duration::from_millis(10), 3)).await;
    first.close().await;
    let mut second = subscribe(&*other, "g", "t").await;
    let mut again: Vec<_> = second.take(2).await.iter().map(|delivery| (body(delivery), delivery.attempts)).collect();
    again.sort_unstable();
    assert_eq!(again, [("0".to_owned(), 1), ("1".to_owned(), 3)]);
}

pub(super) async fn a_waiting_retry_keeps_nothing_else_waiting(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &[keyed("t", "k", "0")]).await;
    let held = reader.take(1).await;
    reader.end(&held, retry(Duration::from_secs(900), 1)).await;
    publish(&*broker, &[keyed("t", "k", "1"), message("t", "2")]).await;
    assert_eq!(reader.read(2).await, ["1", "2"]);
}

pub(super) async fn what_was_rejected_is_forgotten(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    let held = reader.take(1).await;
    reader.end(&held, Outcome::Reject).await;
    reader.is_drained(&*broker, "t").await;
    reader.close().await;
    subscribe(&*broker, "g", "t").await.is_drained(&*broker, "t").await;
}

pub(super) async fn a_receipt_settles_once_and_a_lost_one_nothing(place: Place) {
    let broker = place.open().await;
    let mut first = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    let old = first.take(1).await;
    let settle = Arc::clone(&first.settle);
    first.close().await;
    let mut second = subscribe(&*broker, "g", "t").await;
    let new = second.take(1).await;
    within(settle.settle(&[(old[0].receipt, Outcome::Ack)])).await.unwrap();
    assert_eq!(within(second.settle.extend(&[new[0].receipt])).await.unwrap(), []);
    second.end(&new, Outcome::HandBack).await;
    // It is still there, and its second receipt is used up.
    let newest = second.take(1).await;
    second.end(&new, Outcome::Ack).await;
    assert_eq!(within(second.settle.extend(&[newest[0].receipt])).await.unwrap(), []);
    second.end(&newest, Outcome::Ack).await;
    second.end(&newest, retry(Duration::ZERO, 1)).await;
    second.is_drained(&*broker, "t").await;
}

pub(super) async fn what_is_handed_back_comes_again_in_order(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let batch: Vec<_> = (0..20).map(|n| keyed("t", &format!("k{}", n % 3), &n.to_string())).collect();
    publish(&*broker, &batch).await;
    let mut held = reader.take(15).await;
    held.reverse();
    reader.end(&held, Outcome::HandBack).await;
    assert_eq!(reader.read(20).await, numbers(0, 20));
}

pub(super) async fn what_is_handed_back_at_the_end_comes_again_in_order(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut reader = subscribe(&*one, "g", "t").await;
    let batch: Vec<_> = (0..20).map(|n| keyed("t", &format!("k{}", n % 3), &n.to_string())).collect();
    publish(&*one, &batch).await;
    let mut held = reader.take(15).await;
    held.reverse();
    // Some handed back, some not settled at all: both go back.
    reader.end(&held[..10], Outcome::HandBack).await;
    reader.close().await;
    let mut next = subscribe(&*other, "g", "t").await;
    assert_eq!(next.read(20).await, numbers(0, 20));
    next.is_drained(&*other, "t").await;
}
