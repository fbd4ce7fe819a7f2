//! The order of a key: within an instance, and across those of a group.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
    time::Instant,
};

use super::prelude::*;

/// What instances saw of each key, and which keys somebody has in hand.
#[derive(Default)]
struct Seen {
    in_hand: Mutex<HashMap<String, usize>>,
    by_key: Mutex<BTreeMap<String, Vec<usize>>>,
}

impl Seen {
    /// Notes deliveries to one instance; no other may hold a key of theirs.
    fn begin(&self, instance: usize, deliveries: &[Delivery]) {
        let mut in_hand = self.in_hand.lock().unwrap();
        let mut by_key = self.by_key.lock().unwrap();
        for delivery in deliveries {
            let key = delivery.message.key().unwrap().to_string();
            let holder = *in_hand.entry(key.clone()).or_insert(instance);
            assert_eq!(holder, instance, "key {key} is in hand at two instances");
            by_key.entry(key).or_default().push(body(delivery).parse().unwrap());
        }
    }

    fn end(&self, deliveries: &[Delivery]) {
        let mut in_hand = self.in_hand.lock().unwrap();
        for delivery in deliveries {
            in_hand.remove(delivery.message.key().unwrap().as_str());
        }
    }
}

pub(super) async fn the_order_of_a_key_holds_within_an_instance(place: Place) {
    const KEYS: usize = 4;
    const EACH: usize = 60;
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let publishers = [Arc::clone(&broker), place.open().await];
    let mut publishing = Vec::new();
    for key in 0..KEYS {
        let broker = Arc::clone(&publishers[key % publishers.len()]);
        publishing.push(tokio::spawn(async move {
            let all: Vec<_> = (0..EACH).map(|n| keyed("t", &format!("k{key}"), &n.to_string())).collect();
            for batch in all.chunks(1 + key) {
                publish(&*broker, batch).await;
            }
        }));
    }
    let mut by_key: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for size in (1..8).cycle() {
        let next = reader.next(size).await;
        reader.end(&next, Outcome::Ack).await;
        for delivery in next {
            by_key.entry(delivery.message.key().unwrap().to_string()).or_default().push(body(&delivery));
        }
        if by_key.values().map(Vec::len).sum::<usize>() == KEYS * EACH {
            break;
        }
    }
    for task in publishing {
        within(task).await.unwrap();
    }
    for (key, came) in by_key {
        assert_eq!(came, numbers(0, EACH), "{key}");
    }
}

pub(super) async fn the_order_of_a_key_holds_through_hand_backs(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let batch: Vec<_> = (0..60).map(|n| keyed("t", "k", &n.to_string())).collect();
    publish(&*broker, &batch).await;
    let mut came = Vec::new();
    // As the framework does it for an ordered handler that fails: what failed and all behind it goes back.
    while came.len() < 60 {
        let held = reader.take(10.min(60 - came.len())).await;
        let (done, back) = held.split_at(held.len().div_ceil(2));
        reader.end(done, Outcome::Ack).await;
        reader.end(back, Outcome::HandBack).await;
        came.extend(bodies(done));
    }
    assert_eq!(came, numbers(0, 60));
}

pub(super) async fn the_order_of_a_key_holds_under_concurrency(place: Place) {
    const KEYS: usize = 10;
    const EACH: usize = 40;
    let seen = Arc::new(Seen::default());
    let mut tasks = Vec::new();
    for instance in 0..3 {
        let (broker, seen) = (place.open().await, Arc::clone(&seen));
        let mut reader = subscribe(&*broker, "g", "t").await;
        tasks.push(tokio::spawn(async move {
            loop {
                let deliveries = reader.next(1 + instance * 3).await;
                seen.begin(instance, &deliveries);
                tokio::task::yield_now().await;
                seen.end(&deliveries);
                reader.end(&deliveries, Outcome::Ack).await;
            }
        }));
    }
    let publishers = [place.open().await, place.open().await, place.open().await];
    let mut publishing = Vec::new();
    for key in 0..KEYS {
        let broker = Arc::clone(&publishers[key % publishers.len()]);
        publishing.push(tokio::spawn(async move {
            for n in 0..EACH {
                publish(&*broker, &[keyed("t", &format!("k{key}"), &n.to_string())]).await;
            }
        }));
    }
    for task in publishing {
        within(task).await.unwrap();
    }
    let expected: Vec<_> = (0..EACH).collect();
    within(async {
        while seen.by_key.lock().unwrap().values().map(Vec::len).sum::<usize>() < KEYS * EACH {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    for task in tasks {
        assert!(!task.is_finished(), "an instance stopped: {:?}", task.await);
        task.abort();
    }
    for (key, numbers) in &*seen.by_key.lock().unwrap() {
        assert_eq!(*numbers, expected, "{key}");
    }
}

pub(super) async fn a_key_in_hand_is_not_given_to_another_instance(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut holder = subscribe(&*one, "g", "t").await;
    publish(&*one, &[keyed("t", "k", "1")]).await;
    let held = holder.take(1).await;
    let mut second = subscribe(&*other, "g", "t").await;
    publish(&*one, &[keyed("t", "k", "2"), keyed("t", "l", "3"), keyed("t", "k", "4"), keyed("t", "m", "5")]).await;
    assert_eq!(second.read(2).await, ["3", "5"]);
    holder.end(&held, Outcome::Ack).await;
    // Who gets the rest is open; that nobody has both at once, and in which order, is not.
    let mut rest = Vec::new();
    while rest.len() < 2 {
        tokio::select! {
            next = holder.next(1) => { holder.end(&next, Outcome::Ack).await; rest.extend(bodies(&next)); }
            next = second.next(1) => { second.end(&next, Outcome::Ack).await; rest.extend(bodies(&next)); }
        }
    }
    assert_eq!(rest, ["2", "4"]);
}

pub(super) async fn a_hot_key_does_not_keep_the_others_waiting(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut stuck = subscribe(&*one, "g", "t").await;
    publish(&*one, &[keyed("t", "hot", "0")]).await;
    let _held = stuck.take(1).await;
    let hot: Vec<_> = (1..500).map(|n| keyed("t", "hot", &n.to_string())).collect();
    publish(&*one, &hot).await;
    publish(&*one, &[keyed("t", "cold", "cold"), message("t", "none")]).await;
    let mut free = subscribe(&*other, "g", "t").await;
    assert_eq!(free.read(2).await, ["cold", "none"]);
    // The holder may have more of what it holds, in order.
    assert_eq!(bodies(&stuck.take(100).await), numbers(1, 101));
}

pub(super) async fn the_key_of_an_instance_that_went_away_is_taken_over_in_order(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut first = subscribe(&*one, "g", "t").await;
    let mut second = subscribe(&*other, "g", "t").await;
    let batch: Vec<_> = (0..50).map(|n| keyed("t", "k", &n.to_string())).collect();
    publish(&*one, &batch).await;
    assert_eq!(bodies(&first.take(20).await), numbers(0, 20));
    let waiting = tokio::spawn(async move { second.read(50).await });
    drop(first);
    let dropped = Instant::now();
    assert_eq!(waiting.await.unwrap(), numbers(0, 50));
    place.figures().back(dropped.elapsed());
    place.figures().again(0);
}

pub(super) async fn what_waits_for_the_holder_of_its_key_comes_once(place: Place) {
    const WAITING: usize = 20;
    let (one, other) = (place.open().await, place.open().await);
    let mut holder = subscribe(&*one, "g", "t").await;
    publish(&*one, &[keyed("t", "k", "0")]).await;
    let held = holder.take(1).await;
    // Two instances look in turn for what neither may have: one beside the holder, one in an opening of its own.
    let mut beside = subscribe(&*one, "g", "t").await;
    let mut apart = subscribe(&*other, "g", "t").await;
    for n in 1..=WAITING {
        publish(&*one, &[keyed("t", "k", &n.to_string())]).await;
        for idle in [&mut beside, &mut apart] {
            let got = tokio::time::timeout(Duration::from_millis(10), idle.fetch.fetch(1)).await;
            assert!(got.is_err(), "an instance got the key of another: {got:?}");
        }
    }
    publish(&*one, &[message("t", "free")]).await;
    assert_eq!(apart.read(1).await, ["free"]);
    holder.end(&held, Outcome::Ack).await;
    assert_eq!(holder.read(WAITING).await, numbers(1, WAITING + 1));
    holder.is_drained(&*one, "t").await;
}
