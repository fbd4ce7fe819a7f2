//! Failed attempts: how many, when, in which order, and what ends them.

use std::panic::resume_unwind;

use tidings::Order;
use tidings_core::Broker;

use super::{
    letters::{Letters, said},
    prelude::*,
};

/// So many attempts in a moment.
fn quick(attempts: u32) -> Retry {
    Retry::exponential(Duration::from_millis(5), Duration::from_millis(20)).attempts(attempts)
}

fn bad_fails(tried: &Tried) -> Result<(), Failure> {
    if tried.body.starts_with("bad") { Err("not yet".into()) } else { Ok(()) }
}

pub(super) async fn a_failing_message_has_the_attempts_of_its_policy_and_no_more(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let instance = Instance::start(Arc::clone(&broker), tells(&seen, bad_fails).retry(quick(3))).await;
    publish(&*broker, &[keyed("t", "k", "bad with a key"), message("t", "bad without"), keyed("t", "k", "behind")]).await;
    seen.count(7).await;
    // Whoever came again without reason would be there when this is.
    publish(&*broker, &[keyed("t", "k", "last"), message("t", "last")]).await;
    seen.until(|seen| seen.iter().filter(|tried| tried.body == "last").count() == 2).await;
    instance.stop().await;
    let all = seen.all();
    for bad in ["bad with a key", "bad without"] {
        let attempts = all.iter().filter(|tried| tried.body == bad).map(|tried| tried.attempt);
        assert!(attempts.eq(1..=3), "{all:?}");
    }
    assert_eq!(all.len(), 9, "{all:?}");
}

pub(super) async fn the_last_failure_is_one_dead_letter(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let mut letters = Letters::of(&*broker, "g").await;
    let instance = Instance::start(Arc::clone(&broker), tells(&seen, bad_fails).retry(quick(3))).await;
    publish(&*broker, &[keyed("t", "k", "bad"), message("t", "bad"), message("t", "good")]).await;
    for letter in letters.take(2).await {
        let why = ["tidings-reason", "tidings-error", "tidings-attempts"].map(|name| said(&letter, name));
        assert_eq!(why, ["failed", "not yet", "3"]);
    }
    seen.count(7).await;
    instance.stop().await;
    letters.are_all(&*broker).await;
    assert_eq!(seen.all().len(), 7);
}

pub(super) async fn a_panic_is_a_failed_attempt(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let handlers = tells(&seen, |tried| {
        if tried.body == "bad" && tried.attempt == 1 {
            // As any panic, but nobody is told of it on standard error.
            resume_unwind(Box::new("once"));
        }
        Ok(())
    });
    let instance = Instance::start(Arc::clone(&broker), handlers.retry(quick(3))).await;
    publish(&*broker, &[keyed("t", "k", "bad"), keyed("t", "k", "behind"), message("t", "beside")]).await;
    seen.count(4).await;
    instance.stop().await;
    let all = seen.all();
    let of_key = all.iter().filter(|tried| tried.key.is_some()).map(|tried| (tried.body.as_str(), tried.attempt));
    assert!(of_key.eq([("bad", 1), ("bad", 2), ("behind", 1)]) && all.len() == 4, "{all:?}");
}

const KEYS: usize = 5;
const EACH: usize = 40;

/// Whether the first attempt at a number fails.
fn fails(n: usize) -> bool {
    n.is_multiple_of(7)
}

fn some_fail_once(tried: &Tried) -> Result<(), Failure> {
    if fails(tried.number()) && tried.attempt == 1 { Err("not yet".into()) } else { Ok(()) }
}

/// Publishes the numbers of all keys side by side; each key was handled in order, every attempt in its place.
async fn each_key_is_handled_in_order(broker: &dyn Broker, seen: &Seen<Tried>, instances: Vec<Instance>) {
    for n in 0..EACH {
        let batch: Vec<_> = (0..KEYS).map(|key| keyed("t", &format!("k{key}"), &n.to_string())).collect();
        publish(broker, &batch).await;
    }
    let attempts = |n| (1..=if fails(n) { 2 } else { 1 }).map(move |attempt| (n, attempt));
    let expected: Vec<_> = (0..EACH).flat_map(attempts).collect();
    seen.count(KEYS * expected.len()).await;
    for instance in instances {
        instance.stop().await;
    }
    let by_key = by_key(&seen.all());
    assert_eq!(by_key.len(), KEYS);
    for (key, came) in by_key {
        assert_eq!(came, expected, "{key}");
    }
}

pub(super) async fn the_order_of_a_key_holds_through_retries(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let instance = Instance::start(Arc::clone(&broker), tells(&seen, some_fail_once).retry(quick(3))).await;
    each_key_is_handled_in_order(&*broker, &seen, vec![instance]).await;
}

pub(super) async fn the_order_of_a_key_holds_through_retries_across_instances(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let mut instances = Vec::new();
    for _ in 0..3 {
        let handlers = tells(&seen, some_fail_once).retry(quick(3)).order(Order::Group);
        instances.push(Instance::start(place.open().await, handlers).await);
    }
    each_key_is_handled_in_order(&*broker, &seen, instances).await;
}

pub(super) async fn a_wait_that_a_handler_asks_for_is_kept_and_not_much_longer(place: Place) {
    // No whole seconds, which nats-server 2.9 mislays.
    const WAIT: Duration = Duration::from_millis(1_300);
    const MUCH: Duration = Duration::from_millis(1_500);
    let (broker, seen) = (place.open().await, Seen::new());
    let handlers = tells(&seen, |tried| if tried.attempt == 1 { Err(Failure::retry_after("later", WAIT)) } else { Ok(()) });
    let instance = Instance::start(Arc::clone(&broker), handlers.retry(quick(3))).await;
    // The one waits in the process, the other where the engine can.
    publish(&*broker, &[keyed("t", "k", "with a key"), message("t", "without")]).await;
    let all = seen.count(4).await;
    for body in ["with a key", "without"] {
        let [first, second] = &all.iter().filter(|tried| tried.body == body).collect::<Vec<_>>()[..] else {
            panic!("not two attempts: {all:?}")
        };
        let waited = second.at - first.at;
        assert!((WAIT..=WAIT + MUCH).contains(&waited), "{body}: it was to wait for {WAIT:?}, and came after {waited:?}");
        assert_eq!((first.attempt, second.attempt), (1, 2), "{body}");
    }
    instance.stop().await;
}

pub(super) async fn attempts_go_on_after_a_restart(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let handlers =
        || {
            tells(&seen, |tried| {
                if tried.attempt < 3 { Err(Failure::retry_after("later", Duration::from_millis(1_300))) } else { Ok(()) }
            })
        };
    for attempt in 1..=3 {
        let instance = Instance::start(Arc::clone(&broker), handlers()).await;
        if attempt == 1 {
            publish(&*broker, &[message("t", "")]).await;
        }
        seen.count(attempt).await;
        instance.stop().await;
    }
    assert!(seen.all().iter().map(|tried| tried.attempt).eq(1..=3), "{:?}", seen.all());
}

pub(super) async fn a_handler_that_takes_longer_than_a_lease_keeps_its_message_and_its_failure_counts(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let lease = within(broker.subscribe(crate::suite::subscription("other", "t"))).await.unwrap().1.lease().unwrap();
    let long = lease + Duration::from_secs(1);
    let (running, twice) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let (saw, both) = (seen.clone(), Arc::clone(&twice));
    let handlers = Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (saw, running, both) = (saw.clone(), Arc::clone(&running), Arc::clone(&both));
        async move {
            if running.fetch_add(1, Ordering::SeqCst) > 0 {
                both.store(true, Ordering::SeqCst);
            }
            if meta.attempt() == 1 {
                tokio::time::sleep(long).await;
            }
            running.fetch_sub(1, Ordering::SeqCst);
            saw.push(Tried::of(&message, &meta));
            if meta.attempt() == 1 { Err(Failure::from("too late")) } else { Ok(()) }
        }
    });
    let instance = Instance::start(Arc::clone(&broker), handlers.timeout(lease * 3).retry(quick(3))).await;
    publish(&*broker, &[message("t", "")]).await;
    seen.count_in(long + crate::suite::DEADLINE, 2).await;
    instance.stop().await;
    assert!(seen.all().iter().map(|tried| tried.attempt).eq(1..=2), "{:?}", seen.all());
    assert!(!twice.load(Ordering::SeqCst), "it was handled twice at once");
}
