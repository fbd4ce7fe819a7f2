//! How an instance ends, in order or not, and what the next one finds.

use tidings::__private::Bounds;
use tidings_core::{Broker, KeyOrder};

use super::prelude::*;

/// A handler that tells when it begins and when it ends, which it may when it has a permit.
fn gated(begun: &Seen<Tried>, done: &Seen<Tried>, gate: &Arc<Semaphore>) -> Handlers {
    let (begun, done, gate) = (begun.clone(), done.clone(), Arc::clone(gate));
    Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (begun, done, gate) = (begun.clone(), done.clone(), Arc::clone(&gate));
        async move {
            begun.push(Tried::of(&message, &meta));
            let _permit = gate.acquire().await.unwrap();
            done.push(Tried::of(&message, &meta));
        }
    })
}

/// Ten keys, each with numbers in order.
pub(super) fn batch(count: usize) -> Vec<Message> {
    (0..count).map(|n| keyed("t", &format!("k{}", n % 10), &n.to_string())).collect()
}

/// All `count` were handled, and none again beyond what is explained.
fn all_came(place: &Place, done: &[Tried], count: usize, explained: usize) {
    let mut ledger = Ledger::default();
    ledger.note_bodies(done.iter().map(|tried| tried.body.clone()));
    ledger.check(place, &numbers(0, count), explained);
}

/// All came once, and in order where the engine keeps one.
fn check(place: &Place, broker: &dyn Broker, done: &[Tried], count: usize) {
    all_came(place, done, count, 0);
    if broker.capabilities().key_order >= KeyOrder::Instance {
        let out_of_order = by_key(done).into_iter().find(|(key, came)| !key.is_empty() && !came.is_sorted());
        assert_eq!(out_of_order, None);
    }
}

pub(super) async fn a_stop_under_load_finishes_what_runs_and_hands_back_the_rest(place: Place) {
    const COUNT: usize = 200;
    const RUNNING: usize = 5;
    let (broker, gate) = (Counted::around(place.open().await), Arc::new(Semaphore::new(0)));
    let (begun, done) = (Seen::new(), Seen::new());
    let handlers = || gated(&begun, &done, &gate).concurrency(RUNNING);
    let instance = Instance::start(Arc::<Counted>::clone(&broker), handlers()).await;
    publish(&*broker, &batch(COUNT)).await;
    begun.count(RUNNING).await;
    broker.until_in_hand(|count| count > RUNNING).await;
    let stopping = tokio::spawn(instance.stop());
    // What does not run goes back at once.
    broker.until_in_hand(|count| count == RUNNING).await;
    gate.add_permits(RUNNING);
    within(stopping).await.unwrap();
    assert_eq!((begun.all().len(), done.all().len(), broker.in_hand()), (RUNNING, RUNNING, 0));
    let stopped = Instant::now();
    let next = Instance::start(place.open().await, handlers()).await;
    done.count(RUNNING + 1).await;
    place.figures().back(stopped.elapsed());
    done.count(COUNT).await;
    next.stop().await;
    check(&place, &*broker, &done.all(), COUNT);
}

pub(super) async fn what_runs_past_the_deadline_is_cut_and_comes_again_as_the_same_attempt(place: Place) {
    /// Cancelled handlers end within a second, and the last settlement and the close have two each.
    const GRACE: Duration = Duration::from_secs(5);
    const DEADLINE: Duration = Duration::from_millis(300);
    let (broker, begun, done) = (place.open().await, Seen::new(), Seen::new());
    let closed = Arc::new(Semaphore::new(0));
    let instance = Instance::start(Arc::clone(&broker), gated(&begun, &done, &closed)).await;
    publish(&*broker, &[keyed("t", "k", "0"), keyed("t", "k", "1"), keyed("t", "l", "2")]).await;
    begun.count(2).await;
    let stops = Instant::now();
    instance.stop_within(DEADLINE).await;
    let took = stops.elapsed();
    assert!((DEADLINE..DEADLINE + GRACE).contains(&took), "the stop took {took:?}");
    closed.add_permits(1);
    assert!(done.all().is_empty(), "it ran on after the cut: {:?}", done.all());
    let next = Instance::start(place.open().await, gated(&begun, &done, &closed)).await;
    let all = done.count(3).await;
    place.figures().back(stops.elapsed() - took);
    next.stop().await;
    assert!(all.iter().all(|tried| tried.attempt == 1), "a cut is no attempt: {all:?}");
    check(&place, &*broker, &done.all(), 3);
}

pub(super) async fn what_a_dropped_instance_had_is_handled_by_the_next(place: Place) {
    const COUNT: usize = 300;
    let (broker, gate) = (Counted::around(place.open().await), Arc::new(Semaphore::new(100)));
    let (begun, done) = (Seen::new(), Seen::new());
    let saw = done.clone();
    // Takes a permit away with each: after a hundred it is busy.
    let takes = Arc::clone(&gate);
    let busy = Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (saw, takes) = (saw.clone(), Arc::clone(&takes));
        async move {
            takes.acquire().await.unwrap().forget();
            saw.push(Tried::of(&message, &meta));
        }
    });
    let instance = Instance::start(Arc::<Counted>::clone(&broker), busy).await;
    publish(&*broker, &batch(COUNT)).await;
    done.count(100).await;
    drop(instance);
    let dropped = Instant::now();
    // Handled, and not settled any more.
    let explained = done.all().len() - broker.settled().len();
    let open = Arc::new(Semaphore::new(1));
    let next = Instance::start(place.open().await, gated(&begun, &done, &open)).await;
    done.count(101).await;
    place.figures().back(dropped.elapsed());
    let all = |seen: &Vec<Tried>| seen.iter().map(|tried| &tried.body).collect::<std::collections::BTreeSet<_>>().len() == COUNT;
    done.until(all).await;
    next.stop().await;
    // The order within an instance does not reach beyond its end.
    all_came(&place, &done.all(), COUNT, explained);
}

pub(super) async fn an_instance_joins_and_one_stops_under_load_and_nothing_is_handled_twice(place: Place) {
    let (broker, first, second, all) = (place.open().await, Seen::new(), Seen::new(), Seen::new());
    // One alone has not room for all that waits.
    let bounds = Bounds { in_flight: 8, parked: 8 };
    let leaves = Instance::bounded(bounds, Arc::clone(&broker), works(&first, &all)).await;
    let enough = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(keep_publishing(Arc::clone(&broker), all.clone(), Arc::clone(&enough)));
    first.count(100).await;
    let stays = Instance::bounded(bounds, place.open().await, works(&second, &all)).await;
    second.count(1).await;
    leaves.stop().await;
    let (stopped, so_far) = (Instant::now(), second.all().len());
    second.count(so_far + 1).await;
    place.figures().back(stopped.elapsed());
    second.count(so_far + 50).await;
    enough.store(true, Ordering::SeqCst);
    let count = within(publishing).await.unwrap();
    all.count(count).await;
    stays.stop().await;
    check(&place, &*broker, &all.all(), count);
}

/// A handler that takes a little time, and tells its own instance's list and everybody's.
fn works(own: &Seen<Tried>, all: &Seen<Tried>) -> Handlers {
    let (own, all) = (own.clone(), all.clone());
    let handlers = Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (own, all) = (own.clone(), all.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            own.push(Tried::of(&message, &meta));
            all.push(Tried::of(&message, &meta));
        }
    });
    handlers.concurrency(4)
}

/// Publishes numbers until it is enough, never many more than are handled; how many it were.
async fn keep_publishing(broker: Arc<dyn Broker>, handled: Seen<Tried>, enough: Arc<AtomicBool>) -> usize {
    const BATCH: usize = 10;
    const AHEAD: usize = 60;
    let mut count = 0_usize;
    while !enough.load(Ordering::SeqCst) {
        handled.count(count.saturating_sub(AHEAD)).await;
        let batch: Vec<_> = (count..count + BATCH).map(|n| message("t", &n.to_string())).collect();
        publish(&*broker, &batch).await;
        count += BATCH;
    }
    count
}
