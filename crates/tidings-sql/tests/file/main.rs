//! What is this broker's own: the file, what it keeps and for how long, and those who share it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod delayed;
mod place;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

use sqlx::{Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tidings_core::{
    BrokerError, Fetched, GroupName, Health, Members, Message, Outcome, PublishError, Start, Subscription, Topic,
};
use tidings_testing::suite::{
    bodies, message, numbered, numbers, publish, subscribe, subscribe_with, subscription, unique, within,
};

use place::Place;

async fn until(mut done: impl AsyncFnMut() -> bool) {
    within(async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

async fn refused(place: &Place) -> BrokerError {
    within(place.try_open("")).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_left_as_it_is_and_named() {
    let place = Place::new();
    let name = place.file().display().to_string();
    for content in
        [&b"no database at all, but long enough to have a header of a hundred bytes "[..].repeat(3), &vec![0xff; 5_000]]
    {
        fs::write(place.file(), content).unwrap();
        let error = refused(&place).await;
        assert!(matches!(&error, BrokerError::Corrupt { place, .. } if *place == name), "{error}");
        assert!(error.to_string().contains("move it away"), "{error}");
        assert_eq!(fs::read(place.file()).unwrap(), *content);
    }
    fs::remove_file(place.file()).unwrap();
    let mut raw = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(place.file()).create_if_missing(true))
        .await
        .unwrap();
    raw.execute("CREATE TABLE theirs (a)").await.unwrap();
    let error = refused(&place).await.to_string();
    assert!(error.contains("another program's SQLite file; name another file"), "{error}");
}

#[tokio::test]
async fn a_file_of_another_version_is_refused() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    place.raw().await.execute("PRAGMA user_version = 7").await.unwrap();
    let error = refused(&place).await;
    assert!(matches!(error, BrokerError::Corrupt { .. }) && error.to_string().contains("version 7"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_damaged_in_the_middle_says_so() {
    let place = Place::new();
    let broker = place.open().await;
    publish(&*broker, &(0..200).map(|n| message("t", &format!("{n}").repeat(500))).collect::<Vec<_>>()).await;
    broker.close().await.unwrap();
    let mut bytes = fs::read(place.file()).unwrap();
    bytes[8_192..40_000].fill(0xAA);
    fs::write(place.file(), bytes).unwrap();
    // The damage shows when something is read: at once or in the first subscription.
    let error = match place.try_open("").await {
        Err(error) => error,
        Ok(broker) => match within(broker.subscribe(subscription("g", "t"))).await {
            Err(error) => error,
            Ok(_) => match within(broker.publish(&[message("t", "x")])).await {
                Err(failures) => {
                    let why = failures.to_string();
                    assert!(failures.failed()[0].1.is_transient(), "{why}");
                    return;
                }
                Ok(()) => panic!("nobody noticed"),
            },
        },
    };
    assert!(matches!(error, BrokerError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn a_folder_in_the_files_place_is_named() {
    let place = Place::new();
    fs::create_dir(place.file()).unwrap();
    let error = refused(&place).await;
    assert!(matches!(error, BrokerError::Refused { .. }) && error.to_string().contains("broker.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_another_program_keeps_locked_is_waited_for_and_named() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    let mut raw = place.raw().await;
    raw.execute("BEGIN IMMEDIATE").await.unwrap();
    let error = refused(&place).await;
    let BrokerError::Unavailable { source, .. } = &error else { panic!("{error}") };
    assert!(error.is_transient() && source.to_string().contains("locked: another program"), "{source}");
    raw.execute("ROLLBACK").await.unwrap();
    place.open().await.close().await.unwrap();
}

#[tokio::test]
async fn a_locked_file_fails_what_is_asked_and_mends_by_itself() {
    let place = Place::new();
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let mut raw = place.raw().await;
    raw.execute("BEGIN IMMEDIATE").await.unwrap();
    let one = [message("t", "one")];
    let failures = within(broker.publish(&one)).await.unwrap_err();
    let PublishError::Unavailable(why) = &failures.failed()[0].1 else { panic!("{failures}") };
    assert!(why.to_string().contains("locked"), "{why}");
    assert!(matches!(broker.health(), Health::Down(_)));
    raw.execute("ROLLBACK").await.unwrap();
    publish(&*broker, &one).await;
    assert_eq!(reader.read(1).await, ["one"]);
    assert_eq!(broker.health(), Health::Up);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let place = Place::new();
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 10)).await;
    let held = reader.take(6).await;
    reader.end(&held[..2], Outcome::Ack).await;
    reader.end(&held[2..3], Outcome::Retry { after: Duration::from_millis(1), attempts: 3 }).await;
    broker.close().await.unwrap();
    assert_eq!(place.owners(), Vec::<PathBuf>::new());
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let mut again = reader.take(8).await;
    again.sort_by_key(|delivery| delivery.receipt);
    assert_eq!(bodies(&again), numbers(2, 10));
    let known: Vec<_> = again.iter().map(|delivery| (delivery.attempts, delivery.deliveries)).collect();
    assert_eq!((known[0], known[1], known[7]), ((3, Some(2)), (0, Some(2)), (0, Some(1))));
    // A second publish is recognised across the restart, too.
    publish(&*broker, &[again[0].message.clone()]).await;
    assert_eq!(broker.counters()[0], ("duplicates", 1));
    reader.end(&again, Outcome::Ack).await;
    reader.is_drained(&*broker, "t").await;
}

#[tokio::test]
async fn a_new_group_starts_where_it_is_told() {
    let place = Place::new();
    let broker = place.open().await;
    publish(&*broker, &[message("t", "0")]).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    let between = SystemTime::now();
    publish(&*broker, &[message("t", "1")]).await;
    let from = |start| Subscription { start, ..subscription(&format!("g{}", unique()), "t") };
    let mut readers = Vec::new();
    for (start, expected) in [
        (None, &["0", "1", "2"][..]),
        (Some(Start::First), &["0", "1", "2"]),
        (Some(Start::At(between)), &["1", "2"]),
        (Some(Start::At(between + Duration::from_secs(60))), &["2"]),
        (Some(Start::Now), &["2"]),
    ] {
        readers.push((subscribe_with(&*broker, from(start)).await, expected));
    }
    publish(&*broker, &[message("t", "2")]).await;
    for (reader, expected) in &mut readers {
        assert_eq!(reader.read(expected.len()).await, **expected);
    }
    let each = Subscription { members: Members::Each, ..from(Some(Start::First)) };
    let error = broker.subscribe(each).await.map(drop).unwrap_err();
    assert!(matches!(error, BrokerError::Unsupported { .. }), "{error}");
}

fn letter(body: &str) -> Message {
    let topic = Topic::dead(&GroupName::new("g").unwrap(), &Topic::new("t").unwrap());
    message("t", body).into_builder().topic(topic).build()
}

#[tokio::test]
async fn old_messages_go_and_dead_letters_stay() {
    let place = Place::new();
    let broker = place.open_with("max_age=1s").await;
    subscribe(&*broker, "away", "t").await.close().await;
    publish(&*broker, &numbered("t", 50)).await;
    publish(&*broker, &[letter("letter")]).await;
    until(async || broker.counters()[1].1 == 50).await;
    let mut later = subscribe_with(&*broker, Subscription { start: Some(Start::First), ..subscription("later", ">") }).await;
    later.is_drained(&*broker, "t").await;
    let mut letters = subscribe_with(&*broker, Subscription { start: None, ..subscription("ops", "dead.>") }).await;
    assert_eq!(letters.read(1).await, ["letter"]);
}

#[tokio::test]
async fn a_wide_gap_in_the_numbers_is_passed_at_once() {
    let place = Place::new();
    let broker = place.open().await;
    publish(&*broker, &numbered("t", 1)).await;
    place.raw().await.execute("UPDATE sqlite_sequence SET seq = 1000000000000 WHERE name = 'message'").await.unwrap();
    publish(&*broker, &[message("other", ""), message("t", "1")]).await;
    let mut reader = subscribe_with(&*broker, Subscription { start: None, ..subscription("g", "t") }).await;
    assert_eq!(reader.read(2).await, numbers(0, 2));
    reader.is_drained(&*broker, "t").await;
}

#[tokio::test]
async fn many_messages_of_other_topics_are_passed_over() {
    let place = Place::new();
    let broker = place.open().await;
    publish(&*broker, &numbered("t", 1)).await;
    let others: Vec<_> = (0..25_000).map(|_| message("other", "")).collect();
    publish(&*broker, &others).await;
    publish(&*broker, &[message("t", "1")]).await;
    let mut reader = subscribe_with(&*broker, Subscription { start: None, ..subscription("g", "t") }).await;
    assert_eq!(reader.read(2).await, numbers(0, 2));
    reader.is_drained(&*broker, "t").await;
}

#[tokio::test]
async fn a_full_file_refuses_events_warns_before_and_takes_letters() {
    let place = Place::new();
    let broker = place.open_with("max_bytes=1MiB").await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let batch: Vec<_> = (0..20).map(|_| message("t", &"x".repeat(64 * 1024))).collect();
    let failures = within(broker.publish(&batch)).await.unwrap_err();
    let places: Vec<_> = failures.failed().iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [15, 16, 17, 18, 19]);
    let PublishError::Unavailable(why) = &failures.failed()[0].1 else { panic!("{failures}") };
    assert!(why.to_string().contains("is full") && why.to_string().contains("max_bytes"), "{why}");
    until(async || matches!(broker.health(), Health::Warning(_))).await;
    publish(&*broker, &[letter("fits")]).await;
    reader.take(15).await;
}

#[tokio::test]
async fn openings_of_one_process_wake_each_other_at_once() {
    let place = Place::new();
    // Polling alone would take ten seconds.
    let (one, other) = (place.open_with("poll=10s").await, place.open_with("poll=10s").await);
    let mut reader = subscribe(&*other, "g", "t").await;
    let waiting = tokio::spawn(async move {
        for n in 0..5 {
            assert_eq!(reader.read(1).await, [n.to_string()]);
        }
    });
    // Long enough for the first pauses between polls to have grown.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let begun = Instant::now();
    for message in numbered("t", 5) {
        publish(&*one, &[message]).await;
    }
    waiting.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn who_was_found_dead_by_mistake_is_told_and_goes_on() {
    let place = Place::new();
    let (one, other) = (place.open().await, place.open().await);
    let mut first = subscribe(&*one, "g", "t").await;
    let each = Subscription { members: Members::Each, ..subscription("g", "t") };
    let mut alone = subscribe_with(&*one, each).await;
    publish(&*other, &numbered("t", 3)).await;
    let held = first.take(3).await;
    assert_eq!(alone.read(3).await, numbers(0, 3));
    let mut lock = place.owners();
    lock.sort();
    fs::remove_file(&lock[0]).unwrap();
    let mut second = subscribe(&*other, "g", "t").await;
    assert_eq!(second.read(3).await, numbers(0, 3));
    let Fetched::Lost(mut lost) = within(first.fetch.fetch(10)).await.unwrap() else { panic!("nothing was lost") };
    lost.sort_unstable();
    assert_eq!(lost, held.iter().map(|delivery| delivery.receipt).collect::<Vec<_>>());
    // Too late: it touches nothing, and the next ones come here as well.
    first.end(&held, Outcome::HandBack).await;
    second.close().await;
    publish(&*other, &[message("t", "3")]).await;
    assert_eq!(first.read(1).await, ["3"]);
    assert_eq!(alone.read(1).await, ["3"]);
}

#[tokio::test]
async fn the_log_does_not_grow_with_what_is_written() {
    const BATCHES: usize = 128;
    let place = Place::new();
    let broker = place.open().await;
    let log = || fs::metadata(format!("{}-wal", place.file().display())).map_or(0, |log| log.len());
    let mut longest = 0;
    for _ in 0..BATCHES {
        let batch: Vec<_> = (0..64).map(|_| message("t", &"x".repeat(16 * 1024))).collect();
        publish(&*broker, &batch).await;
        longest = longest.max(log());
    }
    // One checkpoint is let pass, and what is written meanwhile.
    assert!(longest < 64 << 20, "{longest}");
}
