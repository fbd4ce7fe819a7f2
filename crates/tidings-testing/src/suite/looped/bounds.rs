//! What is in hand at once, and that a slow or failing part of it holds up no other.

use tidings::__private::Bounds;

use super::prelude::*;

/// Goes on failing until it is allowed not to: no more than 50 s.
fn patient() -> Retry {
    Retry::exponential(Duration::from_millis(10), Duration::from_millis(100)).attempts(500)
}

/// Fails what has the key `stuck` until `healed`.
fn unless_healed(healed: &Arc<AtomicBool>) -> impl Fn(&Tried) -> Result<(), Failure> + Clone + Send + Sync + use<> {
    let healed = Arc::clone(healed);
    move |tried| {
        let stuck = tried.key.as_deref() == Some("stuck") && !healed.load(Ordering::SeqCst);
        if stuck { Err("not yet".into()) } else { Ok(()) }
    }
}

pub(super) async fn no_more_is_in_hand_and_running_than_the_settings_allow(place: Place) {
    const BOUNDS: Bounds = Bounds { in_flight: 8, parked: 12 };
    const RUNNING: usize = 4;
    const EACH: usize = 60;
    let (broker, begun, done) = (Counted::around(place.open().await), Seen::new(), Seen::new());
    let (running, gate, healed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
    let (saw, peak, opens, ends) = (done.clone(), begun.clone(), Arc::clone(&gate), unless_healed(&healed));
    let handlers = Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (saw, peak, running, opens, ends) =
            (saw.clone(), peak.clone(), Arc::clone(&running), Arc::clone(&opens), ends.clone());
        async move {
            peak.push(running.fetch_add(1, Ordering::SeqCst) + 1);
            let permit = opens.acquire().await.unwrap();
            tokio::task::yield_now().await;
            drop(permit);
            running.fetch_sub(1, Ordering::SeqCst);
            let tried = Tried::of(&message, &meta);
            ends(&tried)?;
            saw.push(tried);
            Ok::<_, Failure>(())
        }
    });
    let handlers = handlers.retry(patient()).concurrency(RUNNING);
    let instance = Instance::bounded(BOUNDS, Arc::<Counted>::clone(&broker), handlers).await;
    // What waits behind nothing: only so many are in flight.
    publish(&*broker, &numbered("t", EACH)).await;
    begun.count(RUNNING).await;
    broker.until_in_hand(|count| count >= BOUNDS.in_flight).await;
    gate.add_permits(RUNNING);
    done.count(EACH).await;
    assert_eq!(broker.most(), BOUNDS.in_flight, "the most that were in flight");
    for n in 0..EACH {
        let both = [keyed("t", "stuck", &n.to_string()), keyed("t", &format!("k{}", n % 7), &n.to_string())];
        publish(&*broker, &both).await;
    }
    // As many wait as may, and nothing is fetched any more.
    broker.until_in_hand(|count| count >= BOUNDS.parked).await;
    healed.store(true, Ordering::SeqCst);
    let done = done.count(3 * EACH).await;
    instance.stop().await;
    let most = broker.most();
    assert!(most <= BOUNDS.in_flight + BOUNDS.parked, "{most} were in hand");
    assert_eq!(begun.all().into_iter().max(), Some(RUNNING), "handlers that ran at once");
    for (key, came) in by_key(&done).into_iter().filter(|(key, _)| !key.is_empty()) {
        assert!(came.is_sorted(), "{key}: {came:?}");
    }
}

pub(super) async fn a_key_that_goes_on_failing_stops_no_other(place: Place) {
    const STUCK: usize = 30;
    const OTHERS: usize = 100;
    let (broker, seen, healed) = (place.open().await, Seen::new(), Arc::new(AtomicBool::new(false)));
    let handlers = tells(&seen, unless_healed(&healed)).retry(patient()).concurrency(4);
    let instance = Instance::bounded(Bounds { in_flight: 8, parked: 100 }, Arc::clone(&broker), handlers).await;
    publish(&*broker, &(0..STUCK).map(|n| keyed("t", "stuck", &n.to_string())).collect::<Vec<_>>()).await;
    publish(&*broker, &(0..OTHERS).map(|n| keyed("t", &format!("k{}", n % 10), &n.to_string())).collect::<Vec<_>>()).await;
    let is_stuck = |tried: &&Tried| tried.key.as_deref() == Some("stuck");
    let before = seen.until(|seen| seen.iter().filter(|tried| !is_stuck(tried)).count() == OTHERS).await;
    assert!(before.iter().filter(is_stuck).all(|tried| tried.number() == 0), "one passed the one before it");
    healed.store(true, Ordering::SeqCst);
    let all = seen.until(|seen| seen.iter().any(|tried| is_stuck(&tried) && tried.number() == STUCK - 1)).await;
    let mut stuck: Vec<_> = all.iter().filter(is_stuck).map(Tried::number).collect();
    assert!(stuck.is_sorted(), "{stuck:?}");
    stuck.dedup();
    assert!(stuck.into_iter().eq(0..STUCK));
    instance.stop().await;
}

pub(super) async fn a_slow_subscription_slows_no_other(place: Place) {
    const COUNT: usize = 500;
    let (broker, slow, quick) = (place.open().await, Seen::new(), Seen::new());
    let gate = Arc::new(Semaphore::new(0));
    let (saw, waits) = (slow.clone(), Arc::clone(&gate));
    let hangs = Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (saw, waits) = (saw.clone(), Arc::clone(&waits));
        async move {
            let _turn = waits.acquire().await.unwrap();
            saw.push(Tried::of(&message, &meta));
        }
    });
    // What is said of a value holds for what is merged into it.
    let all = Handlers::new().merge(hangs.group("slow").concurrency(1)).merge(tells(&quick, |_| Ok(())));
    let instance = Instance::start(Arc::clone(&broker), all).await;
    for batch in numbered("t", COUNT).chunks(50) {
        publish(&*broker, batch).await;
    }
    quick.count(COUNT).await;
    assert!(slow.all().is_empty());
    gate.add_permits(1);
    let came = slow.count(COUNT).await;
    assert!(came.iter().map(Tried::number).eq(0..COUNT), "the slow one lost some");
    instance.stop().await;
}
