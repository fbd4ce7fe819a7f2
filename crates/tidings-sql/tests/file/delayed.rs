//! What is held back in the file until it is due.

use std::time::{Duration, SystemTime};

use sqlx::Executor;
use tidings_core::{Message, PublishError, Start, Subscription};
use tidings_testing::suite::{message, numbered, numbers, publish, subscribe, subscribe_with, subscription, within};

use crate::place::Place;

const DELAY: Duration = Duration::from_millis(300);

/// What the file says that it keeps, what it does keep, and how many of it are held back.
async fn kept(place: &Place) -> (i64, i64, i64) {
    const KEPT: &str = "SELECT (SELECT bytes FROM broker), \
        (SELECT ifnull(sum(size), 0) FROM (SELECT size FROM message UNION ALL SELECT size FROM later)), \
        (SELECT count(*) FROM later)";
    sqlx::query_as(KEPT).fetch_one(&mut place.raw().await).await.unwrap()
}

fn later(message: Message) -> Message {
    message.into_builder().due(SystemTime::now() + DELAY).build()
}

#[tokio::test]
async fn more_than_one_transaction_moves_comes_in_order_and_counts_once() {
    const COUNT: usize = 2_500;
    let place = Place::new();
    let broker = place.open().await;
    let due = SystemTime::now() + DELAY;
    let batch: Vec<_> = numbered("t", COUNT).into_iter().map(|message| message.into_builder().due(due).build()).collect();
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &batch).await;
    assert_eq!(reader.read(COUNT).await, numbers(0, COUNT));
    let (said, kept, held) = kept(&place).await;
    assert_eq!((said, held), (kept, 0));
    // They were published when they were due.
    for (from, expected) in [(due, Some("0")), (SystemTime::now() + DELAY, None)] {
        let asked =
            Subscription { start: Some(Start::At(from)), ..subscription(if expected.is_some() { "a" } else { "b" }, "t") };
        let mut reader = subscribe_with(&*broker, asked).await;
        match expected {
            Some(first) => assert_eq!(reader.read(1).await, [first]),
            None => reader.is_drained(&*broker, "t").await,
        }
    }
}

#[tokio::test]
async fn a_file_of_before_there_were_delays_takes_them() {
    let place = Place::new();
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &[message("t", "0")]).await;
    assert_eq!(reader.read(1).await, ["0"]);
    reader.close().await;
    within(broker.close()).await.unwrap();
    place.raw().await.execute("DROP TABLE later").await.unwrap();
    let broker = place.open().await;
    publish(&*broker, &[later(message("t", "1"))]).await;
    assert_eq!(subscribe(&*broker, "g", "t").await.read(1).await, ["1"]);
}

#[tokio::test]
async fn what_is_held_back_takes_up_room() {
    let place = Place::new();
    let broker = place.open_with("max_bytes=1MiB").await;
    let batch: Vec<_> = (0..20).map(|_| later(message("t", &"x".repeat(64 * 1024)))).collect();
    let failures = within(broker.publish(&batch)).await.unwrap_err();
    let places: Vec<_> = failures.failed().iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [15, 16, 17, 18, 19]);
    let PublishError::Unavailable(why) = &failures.failed()[0].1 else { panic!("{failures}") };
    assert!(why.to_string().contains("is full"), "{why}");
}

#[tokio::test]
async fn a_message_that_came_meanwhile_under_its_id_is_the_one_that_counts() {
    let place = Place::new();
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let of = |body: &str| message("t", body).into_builder().dedup_id("one").build();
    publish(&*broker, &[later(of("late")), of("early")]).await;
    assert_eq!(reader.read(1).await, ["early"]);
    within(async {
        while kept(&place).await.2 > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    reader.is_drained(&*broker, "t").await;
    let (said, kept, _) = kept(&place).await;
    assert_eq!(said, kept);
}
