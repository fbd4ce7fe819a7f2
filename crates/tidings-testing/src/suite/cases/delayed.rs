//! What is published with a delay: held back until it is due, and a message as all others from then on.

use std::time::{Instant, SystemTime};

use tidings_core::PublishError;

use super::prelude::*;

const DELAY: Duration = Duration::from_millis(1_000);
/// How late one may come on a busy machine.
const LATE: Duration = Duration::from_millis(1_500);

fn due(message: Message, delay: Duration) -> Message {
    message.into_builder().due(SystemTime::now() + delay).build()
}

pub(super) async fn a_delayed_message_comes_when_it_is_due_and_not_much_later(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let begun = Instant::now();
    let delayed = due(keyed("t", "k", "0"), DELAY);
    publish(&*broker, std::slice::from_ref(&delayed)).await;
    let came = reader.take(1).await;
    let waited = begun.elapsed();
    assert!((DELAY..=DELAY + LATE).contains(&waited), "it was to wait for {DELAY:?}, and came after {waited:?}");
    // When it was due is for the broker alone.
    assert_eq!(came[0].message, delayed.into_builder().due(None).build());
}

pub(super) async fn delayed_messages_come_by_when_they_are_due(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let batch: Vec<_> = [3, 1, 2].map(|n: u32| due(keyed("t", "k", &n.to_string()), DELAY / 4 * n)).into();
    publish(&*broker, &batch).await;
    assert_eq!(reader.read(3).await, ["1", "2", "3"]);
}

pub(super) async fn what_is_published_meanwhile_does_not_wait_for_a_delayed_message_of_its_key(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &[due(keyed("t", "k", "late"), DELAY), keyed("t", "k", "0"), message("t", "1")]).await;
    assert_eq!(reader.read(3).await, ["0", "1", "late"]);
}

pub(super) async fn every_group_that_is_there_when_it_is_due_gets_a_delayed_message(place: Place) {
    let broker = place.open().await;
    let mut there = subscribe(&*broker, "there", "t").await;
    publish(&*broker, &[due(message("t", "0"), DELAY)]).await;
    let mut newer = subscribe(&*place.open().await, "newer", "t").await;
    for reader in [&mut there, &mut newer] {
        assert_eq!(reader.read(1).await, ["0"]);
    }
    publish(&*broker, &[message("t", "1")]).await;
    for reader in [&mut there, &mut newer] {
        assert_eq!(reader.read(1).await, ["1"]);
    }
}

pub(super) async fn a_delayed_message_of_who_closed_comes_all_the_same(place: Place) {
    let (publisher, broker) = (place.open().await, place.open().await);
    let mut reader = subscribe(&*broker, "g", "t").await;
    let begun = Instant::now();
    publish(&*publisher, &[due(message("t", "0"), DELAY)]).await;
    within(publisher.close()).await.unwrap();
    drop(publisher);
    assert_eq!(reader.read(1).await, ["0"]);
    let waited = begun.elapsed();
    assert!((DELAY..=DELAY + LATE).contains(&waited), "it was to wait for {DELAY:?}, and came after {waited:?}");
}

pub(super) async fn a_delayed_message_that_was_due_while_all_were_away_waits(place: Place) {
    let broker = place.open().await;
    subscribe(&*broker, "g", "t").await.close().await;
    publish(&*broker, &[due(message("t", "0"), DELAY / 4)]).await;
    within(broker.close()).await.unwrap();
    drop(broker);
    tokio::time::sleep(DELAY / 2).await;
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    assert_eq!(reader.read(1).await, ["0"]);
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn a_second_publish_of_a_delayed_message_is_recognised(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let delayed = due(message("t", "0"), DELAY / 2);
    for _ in 0..2 {
        publish(&*broker, std::slice::from_ref(&delayed)).await;
    }
    assert_eq!(reader.read(1).await, ["0"]);
    // As a relay does that did not hear of the first one.
    publish(&*broker, &[delayed]).await;
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn what_was_due_before_comes_at_once(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let overdue = message("t", "0").into_builder().due(SystemTime::now() - DELAY).build();
    publish(&*broker, &[overdue]).await;
    assert_eq!(reader.read(1).await, ["0"]);
}

pub(super) async fn a_delay_that_is_too_long_is_refused_and_the_rest_of_the_batch_is_not(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let longest = broker.capabilities().longest_delay;
    let batch = [message("t", "0"), due(message("t", "too late"), longest + LATE), message("t", "1")];
    let failures = within(broker.publish(&batch)).await.unwrap_err();
    let [(1, PublishError::DelayTooLong { limit, .. })] = failures.failed() else { panic!("{failures:?}") };
    assert_eq!(*limit, longest);
    assert_eq!(reader.read(2).await, ["0", "1"]);
}

pub(super) async fn a_delay_is_refused_and_nothing_sent(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let failures = within(broker.publish(&[due(message("t", "0"), DELAY)])).await.unwrap_err();
    assert!(matches!(failures.failed(), [(0, PublishError::Unsupported { .. })]), "{failures:?}");
    reader.is_drained(&*broker, "t").await;
}
