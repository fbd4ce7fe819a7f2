//! Processes that are killed, and one that is slow. A victim is this program, started again.

use std::time::Instant;

use crate::suite::victim::{Role, Victim};

use super::prelude::*;

pub(super) async fn a_killed_instance_is_replaced_and_what_it_held_comes_again(place: Place) {
    let broker = place.open().await;
    subscribe(&*broker, "g", "t").await.close().await;
    publish(&*broker, &numbered("t", 40)).await;
    let mut victim = Victim::start(Role::Hold, &place);
    assert_eq!(victim.says().await, "holds");
    let mut reader = subscribe(&*broker, "g", "t").await;
    let waiting = tokio::spawn(async move {
        let mut came = Vec::new();
        while as_set(&bodies(&came)).len() < 35 {
            let next = reader.next(40).await;
            reader.end(&next, Outcome::Ack).await;
            came.extend(next);
        }
        (reader, came)
    });
    victim.kill();
    let killed = Instant::now();
    let (mut reader, came) = within(waiting).await.unwrap();
    place.figures().back(killed.elapsed());
    assert!(came.iter().all(|delivery| delivery.attempts == 0), "a crash is no attempt: {came:?}");
    reader.is_drained(&*broker, "t").await;
    let mut ledger = Ledger::default();
    ledger.note(&came);
    ledger.check(&place, &numbers(5, 40), 0);
}

pub(super) async fn attempts_survive_a_killed_instance(place: Place) {
    let broker = place.open().await;
    subscribe(&*broker, "g", "t").await.close().await;
    publish(&*broker, &numbered("t", 1)).await;
    let mut victim = Victim::start(Role::Fail, &place);
    assert_eq!(victim.says().await, "failed");
    victim.kill();
    let killed = Instant::now();
    let mut reader = subscribe(&*broker, "g", "t").await;
    assert_eq!(reader.take(1).await[0].attempts, 3);
    place.figures().back(killed.elapsed());
}

pub(super) async fn what_a_killed_publisher_was_told_is_taken_is_there(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let mut victim = Victim::start(Role::Publish, &place);
    let mut said = Vec::new();
    while said.len() < 50 {
        said.push(victim.says().await);
    }
    said.extend(victim.kill());
    // The last one may have been taken before it could be said.
    let came = reader.read(said.len()).await;
    assert_eq!(came, said);
    place.figures().again(0);
}

pub(super) async fn a_slow_consumer_does_not_grow_with_what_waits(place: Place) {
    const MIB: usize = 1024 * 1024;
    const ROUNDS: usize = 64;
    const BATCH: usize = 64;
    const BODY: usize = 64 * 1024;
    // A broker that is sent messages unasked may have 64 MiB of them wait in the process, and allocators keep more than is used.
    const MOST: usize = 96 * MIB;
    let (url, _server) = place.of_usual_size().await;
    let broker = place.open_at(&url).await;
    let mut slow = Victim::start_at(Role::Slow, &place, &url);
    assert_eq!(slow.says().await, "subscribed");
    let body = "x".repeat(BODY);
    for round in 1..=ROUNDS {
        let batch: Vec<_> = (0..BATCH).map(|_| message("t", &body)).collect();
        publish(&*broker, &batch).await;
        slow.goes_on();
        let grown: usize = slow.says().await.parse().expect("a number of bytes");
        let published = round * BATCH * BODY / MIB;
        assert!(grown < MOST, "{grown} bytes more after {published} MiB, of which it took {} messages", round + 8);
    }
}
