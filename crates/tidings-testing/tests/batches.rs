//! Many events in one call, each settled by itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings::{
    Event, Failure, Handler, Handlers, Message, Order, Publish, Reject, Retry, Source, State,
    handlers::{Batch, BatchFailure},
};
use tidings_testing::{TestService, servers::eventually};

#[derive(Debug, Clone, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "reading.taken", key = "sensor")]
struct Reading {
    sensor: String,
    n: u32,
}

fn reading(sensor: &str, n: u32) -> Reading {
    Reading { sensor: sensor.to_owned(), n }
}

/// The batches that handlers got.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Vec<Reading>>>>);

impl Seen {
    fn push(&self, batch: &Batch<Reading>) {
        self.0.lock().unwrap().push(batch.events().to_vec());
    }

    fn all(&self) -> Vec<Vec<Reading>> {
        self.0.lock().unwrap().clone()
    }
}

const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Retry {
    Retry::exponential(Duration::from_millis(1), Duration::from_millis(5))
}

async fn handled(service: &TestService, count: usize) {
    for _ in 0..count {
        service.handled::<Reading>().await.unwrap();
    }
}

async fn note(batch: Batch<Reading>, State(seen): State<Seen>) {
    assert!(batch.iter().all(|(reading, meta)| meta.key().unwrap().as_str() == reading.sensor));
    seen.push(&batch);
}

#[tokio::test]
async fn a_full_batch_is_handed_over_at_once_and_an_unfull_one_after_its_wait() {
    let seen = Seen::default();
    let service = TestService::start(Handlers::new().on_batch(4, LONG, note).with_state(seen.clone())).await.unwrap();
    for n in 0..8 {
        service.publish(&reading(&n.to_string(), n)).await.unwrap();
    }
    handled(&service, 8).await;
    assert_eq!(seen.all().iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);

    let seen = Seen::default();
    let service = TestService::start(Handlers::new().on_batch(1_000, SHORT, note).with_state(seen.clone())).await.unwrap();
    for n in 0..3 {
        service.publish(&reading(&n.to_string(), n)).await.unwrap();
    }
    handled(&service, 3).await;
    assert_eq!(seen.all().concat().len(), 3);
}

#[tokio::test]
async fn a_key_keeps_its_order_and_without_order_one_batch_has_many_of_it() {
    let seen = Seen::default();
    let service = TestService::start(Handlers::new().on_batch(4, SHORT, note).with_state(seen.clone())).await.unwrap();
    for n in 0..5 {
        for sensor in ["a", "b", "c"] {
            service.publish(&reading(sensor, n)).await.unwrap();
        }
    }
    handled(&service, 15).await;
    for sensor in ["a", "b", "c"] {
        let came: Vec<_> = seen.all().concat().into_iter().filter(|reading| reading.sensor == sensor).map(|one| one.n).collect();
        assert_eq!(came, [0, 1, 2, 3, 4]);
    }

    let seen = Seen::default();
    let handlers = Handlers::new().on_batch(5, LONG, note.order(Order::None)).with_state(seen.clone());
    let service = TestService::start(handlers).await.unwrap();
    for n in 0..5 {
        service.publish(&reading("a", n)).await.unwrap();
    }
    handled(&service, 5).await;
    assert_eq!(seen.all().len(), 1);
}

#[tokio::test]
async fn the_events_that_a_failure_names_are_tried_again_and_no_others() {
    async fn odd_ones_fail_once(batch: Batch<Reading>, State(seen): State<Seen>) -> Result<(), BatchFailure> {
        let first = seen.all().is_empty();
        seen.push(&batch);
        let mut failed = BatchFailure::none();
        for (place, reading) in batch.events().iter().enumerate().filter(|_| first) {
            match reading.n {
                1 => failed.add(place, "not now"),
                3 => failed.add(place, Failure::reject("never")),
                _ => {}
            }
        }
        failed.into_result()
    }
    let seen = Seen::default();
    let handlers = Handlers::new().on_batch(4, SHORT, odd_ones_fail_once.retry(soon())).with_state(seen.clone());
    let service = TestService::start(handlers).await.unwrap();
    for n in 0..4 {
        service.publish(&reading(&n.to_string(), n)).await.unwrap();
    }
    handled(&service, 3).await;
    let letter = service.dead_letter::<Reading>().await.unwrap();
    assert_eq!((letter.reason(), letter.error(), letter.attempts()), ("rejected", "never", 1));
    assert_eq!(seen.all()[1..], [vec![reading("1", 1)]]);
    assert_eq!(service.attempts::<Reading>().len(), 5);
}

#[derive(Debug, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "reading.filed", key = "sensor")]
struct Filed {
    sensor: String,
}

#[tokio::test]
async fn what_a_batch_answers_goes_out_beside_the_failures_that_it_names() {
    async fn file(batch: Batch<Reading>, State(seen): State<Seen>) -> (Publish<Filed>, BatchFailure) {
        let first = seen.all().is_empty();
        seen.push(&batch);
        let (mut filed, mut failed) = (Vec::new(), BatchFailure::none());
        for (place, reading) in batch.events().iter().enumerate() {
            if first && reading.n == 1 {
                failed.add(place, "not now");
            } else {
                filed.push(Filed { sensor: reading.sensor.clone() });
            }
        }
        (Publish::many(filed).header("by", "batch"), failed)
    }
    let seen = Seen::default();
    let handlers = Handlers::new().on_batch(3, SHORT, file.retry(soon())).with_state(seen.clone());
    let service = TestService::start(handlers).await.unwrap();
    for n in 0..3 {
        service.publish(&reading(&n.to_string(), n)).await.unwrap();
    }
    handled(&service, 3).await;
    assert_eq!(seen.all()[1..], [vec![reading("1", 1)]]);
    let filed: Vec<_> = service.published::<Filed>().unwrap().into_iter().map(|filed| filed.sensor).collect();
    assert_eq!(filed, ["0", "2", "1"]);
}

#[tokio::test]
async fn nothing_goes_out_for_a_batch_that_failed_whole() {
    async fn file(batch: Batch<Reading>, State(calls): State<Arc<AtomicUsize>>) -> (Publish<Filed>, BatchFailure) {
        let filed = Publish::one(Filed { sensor: batch.events()[0].sensor.clone() });
        let mut failed = BatchFailure::none();
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => failed.add(batch.len(), "nobody"),
            1 => failed = "the index is away".into(),
            _ => {}
        }
        (filed, failed)
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let handlers = Handlers::new().on_batch(1, SHORT, file.retry(soon())).with_state(Arc::clone(&calls));
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&reading("a", 1)).await.unwrap();
    handled(&service, 1).await;
    assert_eq!((calls.load(Ordering::SeqCst), service.published::<Filed>().unwrap().len()), (3, 1));
}

#[tokio::test]
async fn a_batch_whose_answer_cannot_go_out_is_tried_again_whole() {
    async fn file(
        batch: Batch<Reading>,
        State(calls): State<Arc<AtomicUsize>>,
    ) -> Result<(Publish<Filed>, BatchFailure), Failure> {
        let key = if calls.fetch_add(1, Ordering::SeqCst) == 0 { "no\0key" } else { "a" };
        let filed = batch.into_events().into_iter().map(|reading| Filed { sensor: reading.sensor });
        Ok((Publish::many(filed).key(key), BatchFailure::none()))
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let handlers = Handlers::new().on_batch(2, LONG, file.retry(soon())).with_state(Arc::clone(&calls));
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&reading("a", 1)).await.unwrap();
    service.publish(&reading("b", 2)).await.unwrap();
    handled(&service, 2).await;
    assert_eq!((calls.load(Ordering::SeqCst), service.attempts::<Reading>().len()), (2, 4));
    assert_eq!(service.published::<Filed>().unwrap().len(), 2);
}

#[tokio::test]
async fn an_error_a_panic_and_a_wrong_place_fail_all_of_the_batch() {
    async fn fails(batch: Batch<Reading>, State(calls): State<Arc<AtomicUsize>>) -> Result<(), BatchFailure> {
        match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Err("the index is away")?,
            1 => panic!("a bug"),
            2 => {
                let mut failed = BatchFailure::none();
                failed.add(batch.len(), "nobody");
                failed.into_result()
            }
            3 => Ok(Err::<(), _>("it will never be").reject()?),
            _ => Ok(()),
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    // The last of a key that fails goes on when it is alone in its batch, too: none is lost.
    let handlers = Handlers::new().on_batch(1, SHORT, fails.retry(soon())).with_state(Arc::clone(&calls));
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&reading("a", 1)).await.unwrap();
    let letter = service.dead_letter::<Reading>().await.unwrap();
    assert_eq!((letter.reason(), letter.attempts()), ("rejected", 4));
    let said: Vec<_> = service.attempts::<Reading>().into_iter().map(|attempt| format!("{:?}", attempt.outcome)).collect();
    for (attempt, says) in
        ["the index is away", "the handler panicked: a bug", "named event 1 of a batch of 1", "it will never be"]
            .into_iter()
            .enumerate()
    {
        assert!(said[attempt].contains(says), "{said:?}");
    }
}

#[tokio::test]
async fn a_body_that_cannot_be_read_spoils_nobody_elses_batch() {
    let seen = Seen::default();
    let service = TestService::start(Handlers::new().on_batch(3, SHORT, note).with_state(seen.clone())).await.unwrap();
    service.publish(&reading("a", 1)).await.unwrap();
    let bad = Message::builder("reading.taken".parse().unwrap(), Source::new("/x").unwrap(), "no".into()).build();
    service.publish_message(&bad).await.unwrap();
    service.publish(&reading("b", 2)).await.unwrap();
    handled(&service, 2).await;
    assert_eq!(service.dead_letter::<Reading>().await.unwrap().attempts(), 1);
    assert_eq!(seen.all().concat().len(), 2);
}

/// Counts the calls that are under way.
struct Under(Arc<AtomicUsize>);

impl Drop for Under {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_call_that_takes_too_long_ends_and_all_of_its_batch_is_tried_again() {
    async fn hangs_once(_: Batch<Reading>, State((calls, under)): State<(Arc<AtomicUsize>, Arc<AtomicUsize>)>) {
        under.fetch_add(1, Ordering::SeqCst);
        let _under = Under(under);
        if calls.fetch_add(1, Ordering::SeqCst) == 0 {
            std::future::pending::<()>().await;
        }
    }
    let (calls, under) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let hangs_once = hangs_once.retry(soon()).timeout(Duration::from_millis(200));
    let handlers = Handlers::new().on_batch(2, SHORT, hangs_once).with_state((Arc::clone(&calls), Arc::clone(&under)));
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&reading("a", 1)).await.unwrap();
    service.publish(&reading("b", 2)).await.unwrap();
    handled(&service, 2).await;
    eventually(PATIENCE, async || under.load(Ordering::SeqCst) == 0).await;
    assert!(service.dead_letters().is_empty());
}

#[tokio::test]
async fn batches_that_cannot_be_are_refused() {
    async fn book(_: Batch<Reading>, _tx: tidings::Tx<sqlx::Sqlite>) {}
    let refused = async |handlers: Handlers| TestService::start(handlers).await.map(drop).unwrap_err().to_string();
    let seen = Seen::default;
    let error = refused(Handlers::new().on_batch(0, SHORT, note).with_state(seen())).await;
    assert!(error.contains("note") && error.contains("1 to 65,536"), "{error}");
    let error = refused(Handlers::new().on_batch(9, Duration::from_secs(61), note).with_state(seen())).await;
    assert!(error.contains("at most 1 min"), "{error}");
    let pool = sqlx::SqlitePool::connect_lazy("sqlite::memory:").unwrap();
    let error = refused(Handlers::new().on_batch(9, SHORT, book).with_state(pool)).await;
    assert!(error.contains("a batch and a `Tx`"), "{error}");
}
