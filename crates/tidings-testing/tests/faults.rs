//! The framework's loop over a broker with faults: whatever is injected, every event is handled, in the order of its key.
#![cfg(feature = "service")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{
    collections::{HashMap, HashSet},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sqlx::{Sqlite, SqlitePool, sqlite::SqliteConnectOptions};
use tidings::{
    __private::{Attempt, Harness, Watch},
    Event, Failure, Handler, Handlers, Message, Order, Reject, Retry, Source, State, Tx,
    handlers::Complete,
};
use tidings_core::{Broker, KeyOrder, Outcome};
use tidings_memory::{Memory, Settings};
use tidings_testing::{
    faults::{Fault, Faulty, Injected},
    servers::{eventually, folder},
};

#[path = "faults/engine.rs"]
mod engine;
use engine::Engine;

const PATIENCE: Duration = Duration::from_secs(30);
const SENSORS: u32 = 8;
const EACH: u32 = 25;
const SEED: u64 = 7;

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "reading.taken", key = "sensor")]
struct Reading {
    sensor: u32,
    n: u32,
}

impl Reading {
    fn is_bad(&self) -> bool {
        self.n % 10 == 9
    }

    fn fails_once(&self) -> bool {
        self.n % 10 == 4
    }

    fn takes_a_while(&self) -> bool {
        self.n.is_multiple_of(3)
    }
}

fn readings() -> Vec<Reading> {
    (0..EACH).flat_map(|n| (0..SENSORS).map(move |sensor| Reading { sensor, n })).collect()
}

fn message(reading: &Reading) -> Message {
    let body = serde_json::to_vec(reading).unwrap();
    let key: tidings_core::Key = reading.sensor.to_string().parse().unwrap();
    Message::builder(Reading::TOPIC.parse().unwrap(), Source::new("/the-test").unwrap(), body.into()).key(key).build()
}

/// What handlers did, in order.
#[derive(Clone, Default)]
struct Notes {
    handled: Arc<Mutex<Vec<Reading>>>,
    failed: Arc<Mutex<HashSet<Reading>>>,
}

async fn take(reading: Reading, State(notes): State<Notes>) -> Result<(), Failure> {
    if reading.takes_a_while() {
        tokio::task::yield_now().await;
    }
    if reading.is_bad() {
        return Err("a bad reading").reject();
    }
    if reading.fails_once() && notes.failed.lock().unwrap().insert(reading.clone()) {
        return Err("not now".into());
    }
    notes.handled.lock().unwrap().push(reading);
    Ok(())
}

struct Nobody;

impl Watch for Nobody {
    fn ended(&self, _: &Attempt<'_>) {}
}

async fn start(faulty: &Faulty, handlers: impl Complete) -> Harness {
    Harness::start(Arc::new(faulty.clone()), "test", handlers.complete(), Arc::new(Nobody)).await.unwrap()
}

fn soon() -> Retry {
    Retry::exponential(Duration::from_millis(1), Duration::from_millis(5))
}

/// Publishes until all of it is taken, what failed again in its order.
async fn publish(broker: &dyn Broker, mut messages: Vec<Message>) {
    while let Err(failures) = broker.publish(&messages).await {
        messages = failures.failed().iter().map(|(place, _)| messages[*place].clone()).collect();
    }
}

/// What came of a run.
struct Run {
    handled: Vec<Reading>,
    letters: Vec<Reading>,
    injected: Injected,
}

/// Publishes all readings and handles them, until the engine has nothing left.
async fn run(faults: impl Fn(Faulty) -> Faulty) -> Run {
    let engine = Engine::default();
    let faulty = faults(Faulty::around(Arc::new(engine.clone())).with_seed(SEED));
    let notes = Notes::default();
    let service = start(&faulty, Handlers::new().on(take.retry(soon())).with_state(notes.clone())).await;
    publish(&faulty, readings().iter().map(message).collect()).await;
    eventually(PATIENCE, async || engine.gone() == readings().len()).await;
    service.stop().await.unwrap();
    let letters = engine.memory.dead_letters().iter().map(|letter| Reading::from_message(letter).unwrap()).collect();
    let handled = notes.handled.lock().unwrap().clone();
    Run { handled, letters, injected: faulty.injected() }
}

impl Run {
    /// Every event is handled, in the order of its key, or among the dead letters where the handler put it.
    fn check(&self) {
        let mut seen = HashSet::new();
        let first: Vec<&Reading> = self.handled.iter().filter(|reading| seen.insert(*reading)).collect();
        for sensor in 0..SENSORS {
            let came: Vec<u32> = first.iter().filter(|reading| reading.sensor == sensor).map(|reading| reading.n).collect();
            let all: Vec<u32> = (0..EACH).filter(|n| !Reading { sensor, n: *n }.is_bad()).collect();
            assert_eq!(came, all, "sensor {sensor}");
        }
        let mut letters = self.letters.clone();
        letters.sort_unstable_by_key(|reading| (reading.n, reading.sensor));
        assert_eq!(letters, readings().into_iter().filter(Reading::is_bad).collect::<Vec<_>>());
    }

    fn most_of_one(&self) -> usize {
        let mut counts = HashMap::new();
        self.handled.iter().for_each(|reading| *counts.entry(reading).or_insert(0) += 1);
        counts.into_values().max().unwrap_or(0)
    }
}

fn all_faults(faulty: Faulty) -> Faulty {
    let delayed = faulty.duplicates(0.1).delays(0.1, Duration::from_millis(5)).reorders(0.1).lost_settlements(0.1);
    delayed.failed_publishes(0.1).lost_acknowledgements(0.1).leaving(0.05).lost(0.05)
}

#[tokio::test]
async fn without_a_fault_asked_for_none_is_injected() {
    let run = run(|faulty| faulty).await;
    run.check();
    assert_eq!((run.injected.total(), run.most_of_one()), (0, 1));
}

#[tokio::test]
async fn under_each_fault_alone_every_event_is_handled_in_order() {
    type Faults = fn(Faulty) -> Faulty;
    let cases: [(Fault, Faults); 8] = [
        (Fault::Duplicate, |faulty| faulty.duplicates(0.2)),
        (Fault::Delay, |faulty| faulty.delays(0.2, Duration::from_millis(5))),
        (Fault::Reorder, |faulty| faulty.reorders(0.2)),
        (Fault::LostSettlement, |faulty| faulty.lost_settlements(0.2)),
        (Fault::FailedPublish, |faulty| faulty.failed_publishes(0.2)),
        (Fault::LostAcknowledgement, |faulty| faulty.lost_acknowledgements(0.2)),
        (Fault::Leaving, |faulty| faulty.leaving(0.1)),
        (Fault::Lost, |faulty| faulty.lost(0.1)),
    ];
    for (fault, faults) in cases {
        let run = run(faults).await;
        run.check();
        assert!(run.injected.count(fault) > 5, "{fault:?}: {:?}", run.injected);
        assert_eq!(run.injected.count(fault), run.injected.total());
        let comes_again = matches!(fault, Fault::Duplicate | Fault::LostSettlement | Fault::Lost);
        assert_eq!(run.most_of_one() > 1, comes_again, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_all_faults_together_every_event_is_handled_in_order() {
    for seed in 0..20 {
        let run = run(|faulty| all_faults(faulty.with_seed(seed))).await;
        run.check();
        assert!(run.injected.total() > 100, "{:?}", run.injected);
    }
}

#[tokio::test]
async fn one_seed_injects_the_same_faults_in_every_run_and_another_seed_others() {
    let (one, other) = (run(all_faults).await, run(all_faults).await);
    assert_eq!(one.injected, other.injected);
    let third = run(|faulty| all_faults(faulty.with_seed(SEED + 1))).await;
    assert_ne!(one.injected, third.injected);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_failed_is_named_and_only_it_and_its_key_behind_it() {
    let engine = Engine::default();
    let faulty = Faulty::around(Arc::new(engine.clone())).with_seed(SEED).failed_publishes(0.1).lost_acknowledgements(0.1);
    let mut reader = engine.reader("test", Reading::TOPIC).await;
    let all = readings();
    let failures = faulty.publish(&all.iter().map(message).collect::<Vec<_>>()).await.unwrap_err();
    let arrived: HashSet<Reading> = reader.there().await.iter().map(|message| Reading::from_message(message).unwrap()).collect();

    let named: HashSet<&Reading> = failures.failed().iter().map(|(place, _)| &all[*place]).collect();
    let unheard: Vec<&&Reading> = named.iter().filter(|reading| arrived.contains(**reading)).collect();
    assert_eq!(unheard.len(), faulty.injected().count(Fault::LostAcknowledgement), "taken, and named all the same");
    assert!(all.iter().all(|reading| arrived.contains(reading) || named.contains(reading)), "nothing fails unnamed");
    assert!(!unheard.is_empty() && faulty.injected().count(Fault::FailedPublish) > 2 && arrived.len() > 20);
    assert!(failures.failed().iter().all(|(_, error)| error.is_transient()));
    let missing = |reading: &&Reading| !arrived.contains(*reading);
    for sensor in 0..SENSORS {
        let of_key: Vec<&Reading> = all.iter().filter(|reading| reading.sensor == sensor).collect();
        let first = of_key.iter().position(missing).unwrap_or(of_key.len());
        assert!(of_key[first..].iter().all(missing), "what is behind a message that was not taken is not taken either");
    }
}

#[tokio::test(start_paused = true)]
async fn reorders_pass_keys_and_within_keys_only_when_asked_for() {
    let orderly = run(|faulty| faulty.reorders(0.0)).await;
    let across = run(|faulty| faulty.reorders(0.3)).await;
    assert_ne!(orderly.handled, across.handled);

    let engine = Engine::default();
    let faulty = Faulty::around(Arc::new(engine.clone())).with_seed(SEED).reorders(0.3).within_keys();
    assert_eq!(faulty.capabilities().key_order, KeyOrder::None);
    let mut reader = engine.reader_of(&faulty, "test", Reading::TOPIC).await;
    publish(&engine, (0..EACH).map(|n| message(&Reading { sensor: 1, n })).collect()).await;
    let came: Vec<u32> = reader.there().await.iter().map(|message| Reading::from_message(message).unwrap().n).collect();
    assert!(came.len() == EACH as usize && !came.is_sorted(), "{came:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_settlement_of_two_copies_reaches_the_engine_and_no_other() {
    let engine = Engine::default();
    let faulty = Faulty::around(Arc::new(engine.clone())).duplicates(1);
    let mut reader = engine.reader_of(&faulty, "test", Reading::TOPIC).await;
    publish(&engine, vec![message(&Reading { sensor: 1, n: 1 })]).await;
    let copies = reader.fetch().await;
    assert_eq!((copies.len(), copies[0].message.id()), (2, copies[1].message.id()));
    reader.settle(copies[0].receipt, Outcome::HandBack).await;
    reader.settle(copies[0].receipt, Outcome::Ack).await;
    assert_eq!(engine.gone(), 0);
    reader.settle(copies[1].receipt, Outcome::Ack).await;
    assert_eq!((engine.gone(), reader.there().await.len()), (1, 0));
}

#[tokio::test]
async fn a_handler_whose_message_is_lost_is_cancelled_and_the_message_comes_again() {
    struct Call(Arc<AtomicUsize>);
    impl Drop for Call {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    async fn hangs_at_first(reading: Reading, State((notes, ended)): State<(Notes, Arc<AtomicUsize>)>) {
        let _call = Call(ended);
        if reading.n == 0 && notes.failed.lock().unwrap().insert(reading.clone()) {
            std::future::pending::<()>().await;
        }
        notes.handled.lock().unwrap().push(reading);
    }
    let (engine, notes, ended) = (Engine::default(), Notes::default(), Arc::new(AtomicUsize::new(0)));
    // By this seed at once; by others when the handler has ended, which it does not.
    let faulty = Faulty::around(Arc::new(engine.clone())).with_seed(SEED).lost(1);
    let service = start(&faulty, Handlers::new().on(hangs_at_first).with_state((notes.clone(), Arc::clone(&ended)))).await;
    let three: Vec<_> = (0..3).map(|n| message(&Reading { sensor: 1, n })).collect();
    publish(&engine, three).await;
    eventually(PATIENCE, async || engine.gone() == 3).await;
    service.stop().await.unwrap();
    let handled: Vec<u32> = notes.handled.lock().unwrap().iter().map(|reading| reading.n).collect();
    assert_eq!((handled, ended.load(Ordering::SeqCst)), (vec![0, 1, 2], 4));
    assert_eq!(faulty.injected().count(Fault::Lost), 3);
}

async fn book(reading: Reading, mut tx: Tx<Sqlite>) -> Result<(), Failure> {
    sqlx::query("INSERT INTO bookings (sensor, n) VALUES ($1, $2)")
        .bind(reading.sensor)
        .bind(reading.n)
        .execute(&mut *tx)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_handler_with_a_transaction_has_one_effect_for_each_event() {
    for order in [Order::Key, Order::None] {
        // A file: a database in memory goes with a connection that a cancelled attempt closes.
        let folder = folder("faults");
        let file = SqliteConnectOptions::new().filename(folder.join("bookings.db")).create_if_missing(true);
        let pool = SqlitePool::connect_with(file).await.unwrap();
        sqlx::query("CREATE TABLE bookings (sensor integer, n integer)").execute(&pool).await.unwrap();
        let engine = Engine::default();
        let faulty = Faulty::around(Arc::new(engine.clone())).duplicates(0.3).lost_settlements(0.3).lost(0.1);
        let service = start(&faulty, Handlers::new().on(book.order(order).retry(soon())).with_state(pool.clone())).await;
        publish(&engine, readings().iter().map(message).collect()).await;
        eventually(PATIENCE, async || engine.gone() == readings().len()).await;
        service.stop().await.unwrap();
        for fault in [Fault::Duplicate, Fault::LostSettlement, Fault::Lost] {
            assert!(faulty.injected().count(fault) > 0, "{fault:?}");
        }
        let booked: Vec<(u32, u32)> =
            sqlx::query_as("SELECT sensor, n FROM bookings ORDER BY n, sensor").fetch_all(&pool).await.unwrap();
        assert_eq!(booked, readings().iter().map(|reading| (reading.sensor, reading.n)).collect::<Vec<_>>());
        assert!(engine.memory.dead_letters().is_empty());
    }
}

#[test]
fn a_test_that_panics_prints_the_seed_that_the_environment_chooses_again() {
    const NAME: &str = "a_test_that_panics_prints_the_seed_that_the_environment_chooses_again";
    if std::env::var_os("FAIL_ON_PURPOSE").is_some() {
        let _faulty = Faulty::around(Arc::new(Memory::private(Settings::default())));
        panic!("on purpose");
    }
    let run = |seed: &str| {
        let mut test = Command::new(std::env::current_exe().unwrap());
        let failed = test.args(["--exact", NAME]).env("FAIL_ON_PURPOSE", "1").env("FAULTS_SEED", seed).output().unwrap();
        assert!(!failed.status.success());
        String::from_utf8(failed.stdout).unwrap() + &String::from_utf8(failed.stderr).unwrap()
    };
    assert!(run("42").contains("by the seed 42; FAULTS_SEED=42 injects them again"), "{}", run("42"));
    assert!(run("x").contains("FAULTS_SEED=\"x\" is not a number"), "{}", run("x"));
}
