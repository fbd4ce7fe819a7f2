//! What the loop asks of a broker, told by one that does what the test says.

use std::{sync::Arc, time::Duration};

use tidings_core::{Delay, Fetched, Message, Outcome, PublishError, Receipt};
use tokio::sync::Semaphore;

use super::{
    super::Limits,
    rig::{Logged, Rig, Seen, body, message},
    scripted::{Asked, Scripted, away},
};
use crate::{Failure, Handler, Handlers, Meta, Order, Retry};

/// A handler that does nothing.
fn nothing() -> Handlers {
    Handlers::new().on_topic("t", async |_: Message| {})
}

/// A handler that waits for a permit, and tells when it began and how it ended.
fn gated(seen: &Seen<String>, gate: &Arc<Semaphore>) -> Handlers {
    let (seen, gate) = (seen.clone(), Arc::clone(gate));
    Handlers::new().on_topic("t", move |message: Message| {
        let (seen, gate) = (seen.clone(), Arc::clone(&gate));
        async move {
            let told = Told { seen: seen.clone(), body: body(&message), done: false };
            seen.push(format!("begin {}", told.body));
            gate.acquire().await.unwrap().forget();
            told.done();
        }
    })
}

struct Told {
    seen: Seen<String>,
    body: String,
    done: bool,
}

impl Told {
    fn done(mut self) {
        self.done = true;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let how = if self.done { "done" } else { "cancelled" };
        self.seen.push(format!("{how} {}", self.body));
    }
}

#[tokio::test(start_paused = true)]
async fn outcomes_go_back_in_batches_while_a_fetch_waits() {
    let scripted = Scripted::new();
    let rig = Rig::new(scripted.broker()).start(nothing()).await;
    scripted.deliver((0..100).map(|_| message("", "")));
    let settled = scripted.when_settled(100).await;
    assert!(settled.iter().all(|(_, outcome)| *outcome == Outcome::Ack));
    rig.stop().await.unwrap();
    assert_eq!(scripted.asked.all().last(), Some(&Asked::Close));
}

#[tokio::test(start_paused = true)]
async fn with_one_in_flight_the_next_comes_only_when_the_outcome_is_stored() {
    let (scripted, seen) = (Scripted::new(), Seen::new());
    let saw = seen.clone();
    scripted.settles.send_replace(false);
    let handlers = Handlers::new().on_topic("t", handler!([saw] |message: Message| { saw.push(body(&message)) }));
    let limits = Limits { in_flight: 1, concurrency: 1, ..Limits::default() };
    let rig = Rig::with(scripted.broker(), limits).start(handlers).await;
    scripted.deliver(["a", "b"].map(|body| message("", body)));
    seen.when(|seen| seen == ["a"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(seen.all(), ["a"]);
    scripted.settles.send_replace(true);
    seen.when(|seen| seen == ["a", "b"]).await;
    assert!(scripted.maxima.all().iter().all(|max| *max <= 1));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn never_more_is_fetched_than_there_is_room_for() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(0)));
    let limits = Limits { in_flight: 10, concurrency: 4, ..Limits::default() };
    let rig = Rig::with(scripted.broker(), limits).start(gated(&seen, &gate)).await;
    scripted.deliver((0..100).map(|_| message("", "")));
    seen.when(|seen| seen.len() == 4).await;
    assert_eq!(scripted.to_come(), 90);
    gate.add_permits(100);
    scripted.when_settled(100).await;
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn outcomes_that_the_engine_could_not_take_are_settled_again() {
    let scripted = Scripted::new();
    scripted.settle_answers.lock().unwrap().extend([away(), away()]);
    let rig = Rig::new(scripted.broker()).start(nothing()).await;
    scripted.deliver([message("", "")]);
    assert_eq!(scripted.when_settled(1).await, [(1, Outcome::Ack)]);
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_stored_before_its_message_is_settled() {
    let scripted = Scripted::new();
    let unavailable = || PublishError::Unavailable("away".into());
    scripted.publish_answers.lock().unwrap().extend([unavailable(), unavailable(), unavailable()]);
    let handlers = Handlers::new().on_topic("t", async |_: Message| Err::<(), _>(Failure::reject("no")));
    let rig = Rig::new(scripted.broker()).start(handlers).await;
    scripted.deliver([message("", "hello")]);
    scripted.when_settled(1).await;
    let asked = scripted.asked.all();
    assert!(
        matches!(&asked[..], [Asked::Publish(letter), Asked::Settle(1, Outcome::Reject)] if body(letter) == "hello"),
        "{asked:?}"
    );
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_that_is_refused_goes_without_its_body_and_the_log_and_a_metric_say_so() {
    let (scripted, logged) = (Scripted::new(), Logged::new(tracing::Level::ERROR));
    let limit = || PublishError::TooLarge { topic: "dead.g.t".into(), size: 9, limit: 8 };
    scripted.publish_answers.lock().unwrap().push_back(limit());
    let handlers = Handlers::new().on_topic("t", async |_: Message| Err::<(), _>(Failure::reject("no")));
    let rig = Rig::new(scripted.broker()).start(handlers).await;
    scripted.deliver([message("", "hello")]);
    scripted.when_settled(1).await;
    let asked = scripted.asked.all();
    let Asked::Publish(letter) = &asked[0] else { panic!("{asked:?}") };
    assert_eq!((body(letter).as_str(), letter.headers().get("tidings-body-left-out")), ("", Some("5")));
    assert_eq!(letter.headers().get("tidings-error"), Some("no"));
    assert_eq!(logged.lines_with("leaving out its body").len(), 1);
    assert!(rig.metrics().contains("letters_without_body_total{group=\"g\",pattern=\"t\"} 1"));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_for_dead_letters_stops_no_other_message() {
    let (scripted, seen) = (Scripted::new(), Seen::new());
    let saw = seen.clone();
    let unavailable = || PublishError::Unavailable("away".into());
    scripted.publish_answers.lock().unwrap().extend((0..1000).map(|_| unavailable()));
    let handlers = Handlers::new().on_topic(
        "t",
        handler!([saw] |message: Message| {
            saw.push(body(&message));
            if body(&message) == "bad" { Err(Failure::reject("no")) } else { Ok(()) }
        }),
    );
    let rig = Rig::new(scripted.broker()).start(handlers).await;
    scripted.deliver([message("k", "bad"), message("k", "behind it"), message("other", "good")]);
    scripted.when_settled(1).await;
    assert_eq!(seen.all(), ["bad", "good"]);
    rig.drain.cut.cancel();
    rig.stop().await.unwrap();
    let settled = scripted.settled();
    assert_eq!(settled, [(3, Outcome::Ack), (2, Outcome::HandBack), (1, Outcome::HandBack)]);
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_without_a_key_goes_back_to_the_broker_and_its_failures_are_remembered_here() {
    let scripted = Scripted::new();
    let second = Duration::from_secs(1);
    let attempts = Seen::new();
    let saw = attempts.clone();
    let handler = move |_: Message, meta: Meta| {
        saw.push(meta.attempt());
        async { Err::<(), _>(Failure::retry_after("later", Duration::from_secs(5))) }
    };
    let handler = handler.retry(Retry::exponential(second, second).attempts(3)).order(Order::None);
    let rig = Rig::new(scripted.broker()).start(Handlers::new().on_topic("t", handler)).await;
    let original = message("k", "");
    for n in 1..=3 {
        scripted.deliver([original.clone()]);
        let settled = scripted.when_settled(n).await;
        if n < 3 {
            let attempts = u32::try_from(n).unwrap();
            assert_eq!(settled[n - 1].1, Outcome::Retry { after: 5 * second, attempts });
        } else {
            assert_eq!(settled[n - 1].1, Outcome::Reject);
        }
    }
    assert_eq!(attempts.all(), [1, 2, 3]);
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn failures_that_the_broker_or_the_message_knows_of_are_counted() {
    let (scripted, attempts) = (Scripted::new(), Seen::new());
    let saw = attempts.clone();
    let handler = move |_: Message, meta: Meta| {
        saw.push(meta.attempt());
        async { Err::<(), _>(Failure::from("no")) }
    };
    let rig = Rig::new(scripted.broker()).start(Handlers::new().on_topic("t", handler)).await;
    scripted.deliver_as([message("", "")], |delivery| delivery.attempts = 4);
    scripted.when_settled(1).await;
    let mut headers = tidings_core::Headers::new();
    headers.append("tidings-attempts", "4").unwrap();
    scripted.deliver([message("", "").into_builder().headers(headers).build()]);
    scripted.when_settled(2).await;
    assert_eq!(attempts.all(), [5, 5]);
    assert!(scripted.settled().iter().all(|(_, outcome)| *outcome == Outcome::Reject));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn where_the_broker_cannot_delay_a_message_waits_in_the_process() {
    let (scripted, attempts) = (Scripted::new(), Seen::new());
    scripted.capabilities.lock().unwrap().delay = Delay::None;
    let saw = attempts.clone();
    let handler = move |_: Message, meta: Meta| {
        saw.push(meta.attempt());
        async move { if meta.attempt() < 2 { Err(Failure::retry_after("later", Duration::from_secs(50))) } else { Ok(()) } }
    };
    let rig = Rig::new(scripted.broker()).start(Handlers::new().on_topic("t", handler)).await;
    scripted.deliver([message("", "")]);
    assert_eq!(scripted.when_settled(1).await, [(1, Outcome::Ack)]);
    assert_eq!(attempts.all(), [1, 2]);
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_extended_from_fetch_to_settlement_running_or_queued() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(0)));
    *scripted.lease.lock().unwrap() = Some(Duration::from_secs(9));
    let limits = Limits { in_flight: 2, concurrency: 1, ..Limits::default() };
    let rig = Rig::with(scripted.broker(), limits).start(gated(&seen, &gate)).await;
    scripted.deliver([message("", "a"), message("", "b")]);
    seen.when(|seen| seen.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(25)).await;
    assert_eq!(seen.all(), ["begin a"]);
    gate.add_permits(2);
    scripted.when_settled(2).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let extended: Vec<_> = scripted
        .asked
        .all()
        .into_iter()
        .filter_map(|asked| if let Asked::Extend(which) = asked { Some(which) } else { None })
        .collect();
    assert!((8..=9).contains(&extended.len()) && extended.iter().all(|which| *which == [1, 2]), "{extended:?}");
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_cancels_the_handler_and_settles_nothing() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(0)));
    *scripted.lease.lock().unwrap() = Some(Duration::from_secs(9));
    let lost = (1..=3).map(|n| Receipt([n, 0, 0])).collect();
    scripted.extend_answers.lock().unwrap().push_back(Ok(lost));
    let limits = Limits { concurrency: 1, ..Limits::default() };
    let rig = Rig::with(scripted.broker(), limits).start(gated(&seen, &gate)).await;
    scripted.deliver(["a", "b", "c", "d"].map(|body| message("", body)));
    seen.when(|seen| seen == ["begin a", "cancelled a", "begin d"]).await;
    gate.add_permits(1);
    assert_eq!(scripted.when_settled(1).await, [(4, Outcome::Ack)]);
    rig.stop().await.unwrap();
    assert_eq!(scripted.settled().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_could_not_be_extended_for_its_length_is_lost() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(0)));
    *scripted.lease.lock().unwrap() = Some(Duration::from_secs(9));
    scripted.extends_fail.store(true, std::sync::atomic::Ordering::SeqCst);
    let rig = Rig::new(scripted.broker()).start(gated(&seen, &gate)).await;
    let begun = tokio::time::Instant::now();
    scripted.deliver([message("", "a")]);
    seen.when(|seen| seen == ["begin a", "cancelled a"]).await;
    assert!((9.0..13.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    rig.stop().await.unwrap();
    assert!(scripted.settled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_leaving_is_finished_when_it_runs_and_handed_back_when_it_does_not() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(0)));
    let limits = Limits { concurrency: 1, ..Limits::default() };
    let rig = Rig::with(scripted.broker(), limits).start(gated(&seen, &gate)).await;
    scripted.deliver(["a", "b", "c"].map(|body| message("k", body)));
    seen.when(|seen| seen == ["begin a"]).await;
    scripted.say(Ok(Fetched::Leaving([1, 2].map(|n| Receipt([n, 0, 0])).to_vec())));
    assert_eq!(scripted.when_settled(1).await, [(2, Outcome::HandBack)]);
    gate.add_permits(2);
    assert_eq!(scripted.when_settled(3).await[1..], [(1, Outcome::Ack), (3, Outcome::Ack)]);
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_is_lost_takes_its_messages_with_it() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(0)));
    let rig = Rig::new(scripted.broker()).start(gated(&seen, &gate)).await;
    scripted.deliver(["a", "b"].map(|body| message("k", body)));
    seen.when(|seen| seen == ["begin a"]).await;
    scripted.say(Ok(Fetched::Lost([1, 2].map(|n| Receipt([n, 0, 0])).to_vec())));
    seen.when(|seen| seen == ["begin a", "cancelled a"]).await;
    rig.stop().await.unwrap();
    assert!(scripted.settled().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_is_fetched_from_again_and_one_that_ended_the_subscription_ends_the_loop() {
    let scripted = Scripted::new();
    let rig = Rig::new(scripted.broker()).start(nothing()).await;
    scripted.say(Err(away()));
    scripted.say(Err(away()));
    scripted.deliver([message("", "")]);
    scripted.when_settled(1).await;
    scripted.say(Err(tidings_core::BrokerError::Refused { broker: "scripted".into(), reason: "deleted".into() }));
    assert_eq!(rig.ended().await.unwrap_err().to_string(), "scripted refused: deleted");
}

#[tokio::test(start_paused = true)]
async fn where_nothing_is_kept_dead_letters_are_logged_with_the_whole_reason_and_the_start_says_so() {
    let (scripted, logged) = (Scripted::new(), Logged::new(tracing::Level::WARN));
    scripted.capabilities.lock().unwrap().durable = false;
    let handlers = Handlers::new().on_topic("t", async |_: Message| Err::<(), _>(Failure::reject("the whole reason")));
    let rig = Rig::new(scripted.broker()).start(handlers).await;
    assert_eq!(logged.lines_with("keeps no dead letters").len(), 1);
    scripted.deliver([message("", "")]);
    assert_eq!(scripted.when_settled(1).await, [(1, Outcome::Reject)]);
    assert_eq!(logged.lines_with("the whole reason").len(), 1);
    assert!(rig.metrics().contains("messages_dead_lettered_total{group=\"g\",pattern=\"t\"} 1"));
    rig.stop().await.unwrap();
    assert!(!scripted.asked.all().iter().any(|asked| matches!(asked, Asked::Publish(_))));
}

#[tokio::test(start_paused = true)]
async fn a_handled_message_is_worth_no_line_above_debug() {
    let (scripted, logged) = (Scripted::new(), Logged::new(tracing::Level::DEBUG));
    let rig = Rig::new(scripted.broker()).start(nothing()).await;
    scripted.deliver((0..10).map(|_| message("", "")));
    scripted.when_settled(10).await;
    let lines = logged.lines_with("attempt{");
    assert!(lines.len() == 10 && lines.iter().all(|line| line.contains("DEBUG") && line.contains("handled")), "{lines:?}");
    rig.stop().await.unwrap();
}
