//! How long a delivery stays ours, and how we hear that it is not.

use std::time::Instant;

use tidings_core::Receipt;

use super::prelude::*;

/// Keeps fetching; what came, by the time that `done` says so.
async fn fetch_until(
    reader: &mut Reader,
    patience: Duration,
    mut done: impl FnMut(&Reader, &[Delivery]) -> bool,
) -> Vec<Delivery> {
    let (begun, mut came) = (Instant::now(), Vec::new());
    while !done(reader, &came) && begun.elapsed() < patience {
        // Longer than a look at what is there; a fetch that is given up loses nothing.
        if let Ok(next) = tokio::time::timeout(patience / 20, reader.next_without_deadline(10)).await {
            came.extend(next);
        }
    }
    came
}

pub(super) async fn what_outlives_its_lease_is_lost_and_comes_again(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 2)).await;
    let held = reader.take(2).await;
    let mut late: Vec<Receipt> = held.iter().map(|delivery| delivery.receipt).collect();
    late.sort_unstable();
    let lease = reader.settle.lease().unwrap();
    let again = fetch_until(&mut reader, lease * 2 + Duration::from_secs(5), |_, came| came.len() == 2).await;
    assert_eq!(as_set(&bodies(&again)).len(), 2, "what nobody kept up did not come again: {again:?}");
    reader.lost.sort_unstable();
    assert_eq!(reader.lost, late, "that they were lost was not told");
    // The handler that outlived its lease fails now: too late, and it touches nothing.
    reader.end(&held, retry(Duration::ZERO, 1)).await;
    assert_eq!(within(reader.settle.extend(&[again[0].receipt, again[1].receipt])).await.unwrap(), []);
    reader.end(&again, Outcome::Ack).await;
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn a_lease_that_is_kept_up_is_not_lost(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    let held = reader.take(1).await;
    let lease = reader.settle.lease().unwrap();
    let settle = Arc::clone(&reader.settle);
    let kept = held[0].receipt;
    let keeping = tokio::spawn(async move {
        let until = Instant::now() + lease + lease / 2;
        while Instant::now() < until {
            tokio::time::sleep(lease / 5).await;
            assert_eq!(settle.extend(&[kept]).await.unwrap(), [], "a lease was lost that was kept up");
        }
    });
    let came = fetch_until(&mut reader, lease * 2, |_, _| keeping.is_finished()).await;
    within(keeping).await.unwrap();
    assert!(came.is_empty() && reader.lost.is_empty(), "{came:?} {:?}", reader.lost);
    reader.end(&held, Outcome::Ack).await;
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn what_was_taken_away_without_a_lease_is_told(place: Place) {
    let broker = place.open().await;
    let mut first = subscribe(&*broker, "g", "t").await;
    publish(&*broker, &numbered("t", 1)).await;
    let old = first.take(1).await;
    let settle = Arc::clone(&first.settle);
    first.close().await;
    let mut second = subscribe(&*broker, "g", "t").await;
    let new = second.take(1).await;
    let lost = within(settle.extend(&[old[0].receipt])).await.unwrap();
    assert_eq!(lost, [old[0].receipt], "that it was taken away was not told");
    assert_eq!(within(second.settle.extend(&[new[0].receipt])).await.unwrap(), [], "what is in hand was called lost");
}

pub(super) async fn what_lay_unseen_for_longer_than_its_lease_comes_once(place: Place) {
    const COUNT: usize = 4_000;
    let (one, other) = (place.open().await, place.open().await);
    let mut first = subscribe(&*one, "g", "t").await;
    for batch in numbered("t", COUNT).chunks(500) {
        publish(&*one, batch).await;
    }
    let mut came = Ledger::default();
    // So fast that much is fetched ahead, and then it stands still for longer than a lease.
    came.note_bodies(first.read(COUNT / 2).await);
    let mut second = subscribe(&*other, "g", "t").await;
    let begun = Instant::now();
    let lease = first.settle.lease().unwrap();
    while begun.elapsed() < lease + Duration::from_secs(2) {
        if let Ok(next) = tokio::time::timeout(Duration::from_millis(100), second.next_without_deadline(100)).await {
            second.end(&next, Outcome::Ack).await;
            came.note(&next);
        }
    }
    let unsettled = tokio::time::timeout(Duration::from_secs(2), first.next_without_deadline(100)).await.unwrap_or_default();
    assert!(unsettled.iter().all(|delivery| !came.has(&body(delivery))), "it gives out what was given to another");
    first.close().await;
    while came.different() < COUNT {
        let next = second.next(500).await;
        second.end(&next, Outcome::Ack).await;
        came.note(&next);
    }
    came.check(&place, &numbers(0, COUNT), 0);
    second.is_drained(&*other, "t").await;
}
