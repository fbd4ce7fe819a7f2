//! Processes that are killed. A victim is this program, started again.

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
