//! What follows a failed attempt, on the in-process broker.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use tidings_core::Message;
use tidings_memory::Memory;

use super::rig::{Logged, Rig, Seen, body, memory, message, soon};
use crate::{Failure, Handler, Handlers, Meta, Order, Publisher, Reject, Retry};

#[derive(Debug, thiserror::Error)]
#[error("mail was not sent")]
struct NotSent(#[source] std::io::Error);

fn not_sent() -> Failure {
    NotSent(std::io::Error::other("connection refused")).into()
}

async fn letters(broker: &Memory, count: usize) -> Vec<Message> {
    soon(async {
        while broker.dead_letters().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    broker.dead_letters()
}

fn header<'a>(letter: &'a Message, name: &str) -> &'a str {
    letter.headers().get(name).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_goes_on_failing_gets_five_attempts_and_a_dead_letter_with_the_whole_story() {
    let (broker, attempts) = (memory(), Seen::new());
    let saw = attempts.clone();
    let handlers = Handlers::new().on_topic("t", move |_: Message, meta: Meta| {
        saw.push(meta.attempt());
        async { Err::<(), _>(not_sent()) }
    });
    let rig = Rig::new(broker.clone()).start(handlers).await;
    // With a key, so that it waits here: back at the broker it would be fetched by the real clock, which stands still in this test.
    let original = message("k", "hello");
    rig.publish(std::slice::from_ref(&original)).await;

    let letter = letters(&broker, 1).await.remove(0);
    assert_eq!(attempts.all(), [1, 2, 3, 4, 5]);
    assert_eq!(letter.topic().as_str(), "dead.g.t");
    assert_eq!((letter.id(), letter.source(), letter.body()), (original.id(), original.source(), original.body()));
    assert_eq!(header(&letter, "tidings-reason"), "failed");
    assert_eq!(header(&letter, "tidings-error"), "mail was not sent: connection refused");
    assert_eq!(header(&letter, "tidings-attempts"), "5");
    assert_eq!(header(&letter, "tidings-instance"), "instance-1");
    assert_eq!(header(&letter, "tidings-traceparent"), original.trace().unwrap().traceparent().as_str());
    let time_of = |name| tidings_core::wire::parse_time(header(&letter, name)).unwrap();
    assert!(time_of("tidings-first-attempt") < time_of("tidings-last-attempt"));
    let metrics = rig.metrics();
    for counted in
        ["messages_retried_total{group=\"g\",pattern=\"t\"} 4", "messages_dead_lettered_total{group=\"g\",pattern=\"t\"} 1"]
    {
        assert!(metrics.contains(counted), "{metrics}");
    }
    rig.stop().await.unwrap();
    assert_eq!(attempts.all().len(), 5, "and none after it");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_succeeds_after_others_failed_ends_it() {
    let (broker, attempts) = (memory(), Seen::new());
    let saw = attempts.clone();
    let handlers = Handlers::new().on_topic("t", move |_: Message, meta: Meta| {
        saw.push(meta.attempt());
        async move { if meta.attempt() < 3 { Err(not_sent()) } else { Ok(()) } }
    });
    let rig = Rig::new(broker.clone()).start(handlers).await;
    rig.publish(&[message("k", "")]).await;
    attempts.count(3).await;
    rig.stop().await.unwrap();
    assert_eq!((attempts.all(), broker.dead_letters().len()), (vec![1, 2, 3], 0));
}

#[tokio::test(start_paused = true)]
async fn a_rejected_message_is_a_dead_letter_at_once() {
    let (broker, calls) = (memory(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&calls);
    let handlers = Handlers::new().on_topic(
        "t",
        handler!([counted] |message: Message| {
            counted.fetch_add(1, SeqCst);
            body(&message).parse::<u32>().reject()?;
            Ok::<(), Failure>(())
        }),
    );
    let rig = Rig::new(broker.clone()).start(handlers).await;
    rig.publish(&[message("", "one")]).await;
    let letter = letters(&broker, 1).await.remove(0);
    assert_eq!(header(&letter, "tidings-reason"), "rejected");
    assert_eq!(header(&letter, "tidings-error"), "invalid digit found in string");
    rig.stop().await.unwrap();
    assert_eq!(calls.load(SeqCst), 1);
}

#[derive(Debug, crate::Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "t")]
struct Counted {
    count: u32,
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_read_is_a_dead_letter_that_says_where() {
    let broker = memory();
    let handled = Seen::new();
    let saw = handled.clone();
    let handlers = Handlers::new().on(handler!([saw] |event: Counted| { saw.push(event.count) }));
    let rig = Rig::new(broker.clone()).start(handlers).await;
    rig.publish(&[message("", "{\"count\": \"secret\"}"), message("", "\u{0}"), message("", "{\"count\": 3}")]).await;
    let letters = letters(&broker, 2).await;
    handled.when(|handled| handled == [3]).await;
    for letter in &letters {
        let error = header(letter, "tidings-error");
        assert_eq!((header(letter, "tidings-reason"), header(letter, "tidings-attempts")), ("rejected", "1"));
        assert!(error.contains("line 1") && error.contains('t') && !error.contains("secret"), "{error}");
    }
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_attempt_with_its_message_and_stops_nobody() {
    for late in [false, true] {
        let (broker, handled) = (memory(), Seen::new());
        let saw = handled.clone();
        let handler = handler!([saw] |message: Message| {
            if late {
                tokio::task::yield_now().await;
            }
            assert!(body(&message) != "bad", "cannot bear {}", body(&message));
            saw.push(body(&message));
        });
        let handlers = Handlers::new().on_topic("t", handler.retry(Retry::default().attempts(2)));
        let rig = Rig::new(broker.clone()).start(handlers).await;
        rig.publish(&["a", "bad", "b"].map(|body| message("", body))).await;
        let letter = letters(&broker, 1).await.remove(0);
        assert_eq!(header(&letter, "tidings-reason"), "panicked");
        assert_eq!(header(&letter, "tidings-error"), "the handler panicked: cannot bear bad");
        assert_eq!(header(&letter, "tidings-attempts"), "2");
        rig.publish(&[message("", "c")]).await;
        handled.when(|handled| handled == ["a", "b", "c"]).await;
        rig.stop().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_cancelled_and_counts_as_failed() {
    struct Cancelled(Seen<&'static str>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.push("cancelled");
        }
    }
    let (broker, seen) = (memory(), Seen::new());
    let saw = seen.clone();
    let handler = handler!([saw] |_: Message| {
        let _dropped = Cancelled(saw.clone());
        std::future::pending::<()>().await;
    });
    let handler = handler.timeout(Duration::from_secs(7)).retry(Retry::never());
    let rig = Rig::new(broker.clone()).start(Handlers::new().on_topic("t", handler)).await;
    let begun = tokio::time::Instant::now();
    rig.publish(&[message("", "")]).await;
    let letter = letters(&broker, 1).await.remove(0);
    assert!((7.0..8.0).contains(&begun.elapsed().as_secs_f64()));
    assert_eq!(seen.all(), ["cancelled"]);
    assert_eq!(header(&letter, "tidings-reason"), "timed-out");
    assert_eq!(header(&letter, "tidings-error"), "the handler took longer than 7s");
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_policy_by_time_goes_on_until_then() {
    goes_on_for_a_day(message("k", "")).await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_by_time_ends_for_a_message_that_says_no_time_or_one_to_come() {
    let next_year = std::time::SystemTime::now() + Duration::from_secs(365 * 24 * 3600);
    for time in [None, Some(next_year)] {
        goes_on_for_a_day(message("k", "").into_builder().time(time).build()).await;
    }
}

async fn goes_on_for_a_day(message: Message) {
    let (broker, attempts) = (memory(), Seen::new());
    let saw = attempts.clone();
    let handler = move |_: Message, meta: Meta| {
        saw.push(meta.attempt());
        async { Err::<(), _>(not_sent()) }
    };
    let hour = Duration::from_secs(3600);
    let patient = Retry::exponential(Duration::from_secs(1), Duration::from_secs(600)).for_at_most(24 * hour);
    let rig = Rig::new(broker.clone()).start(Handlers::new().on_topic("t", handler.retry(patient).order(Order::None))).await;
    let begun = tokio::time::Instant::now();
    rig.publish(&[message]).await;
    tokio::time::timeout(25 * hour, async {
        while broker.dead_letters().is_empty() {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    })
    .await
    .unwrap();
    let attempts = attempts.all();
    assert!((23.0..24.5).contains(&(begun.elapsed().as_secs_f64() / 3600.0)), "{:?}", begun.elapsed());
    assert!((150..1000).contains(&attempts.len()), "{}", attempts.len());
    assert!(attempts.is_sorted(), "no restart of the count: {attempts:?}");
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handler_of_dead_letters_that_fails_brings_forth_no_dead_letters_of_dead_letters() {
    let (broker, logged) = (memory(), Logged::new(tracing::Level::ERROR));
    let handlers = Handlers::new()
        .on_topic("t", async |_: Message| Err::<(), _>(Failure::reject("first")))
        .on_topic("dead.>", (async |_: Message| Err::<(), _>(Failure::reject("second"))).group("watch"));
    let rig = Rig::new(broker.clone()).start(handlers).await;
    rig.publish(&[message("", "")]).await;
    soon(async {
        while logged.lines_with("second").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    rig.stop().await.unwrap();
    assert_eq!(broker.dead_letters().iter().map(|letter| letter.topic().as_str()).collect::<Vec<_>>(), ["dead.g.t"]);
}

#[tokio::test(start_paused = true)]
async fn every_line_of_a_messages_way_has_its_traces_id_and_a_failure_the_whole_chain() {
    let (broker, logged) = (memory(), Logged::new(tracing::Level::DEBUG));
    let handler = async |message: Message, meta: Meta| {
        tracing::info!("the handler says so");
        tokio::task::yield_now().await;
        tracing::info!("and later so");
        if body(&message) == "bad" && meta.attempt() < 3 { Err(not_sent()) } else { Ok(()) }
    };
    let handlers = Handlers::new().on_topic("t", handler.retry(Retry::default().attempts(2)));
    let rig = Rig::new(broker.clone()).start(handlers).await;
    let [good, bad] = ["good", "bad"].map(|body| message("", body));
    rig.publish(&[good.clone(), bad.clone()]).await;
    letters(&broker, 1).await;
    rig.stop().await.unwrap();
    for (message, said, times) in [
        (&good, "the handler says so", 1),
        (&good, "and later so", 1),
        (&good, "handled", 1),
        (&bad, "and later so", 2),
        (&bad, "mail was not sent: connection refused", 2),
        (&bad, "given up", 1),
    ] {
        let trace_id = format!("trace_id={}", message.trace().unwrap().trace_id());
        let lines = logged.lines_with(said);
        let lines: Vec<_> = lines.iter().filter(|line| line.contains(&trace_id)).collect();
        assert_eq!(lines.len(), times, "{said}: {lines:?}");
        assert!(lines.iter().all(|line| line.contains("topic=t") && line.contains("group=g")), "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_handler_publishes_belongs_to_the_trace_of_what_it_handles() {
    let (broker, seen) = (memory(), Seen::new());
    let (saw, later) = (seen.clone(), seen.clone());
    let handlers = Handlers::new()
        .on_topic("first", async |_: Message, publisher: Publisher| {
            publisher.publish(&Counted { count: 1 }).await?;
            tokio::task::yield_now().await;
            Publisher::publish(&publisher.in_trace(None), &Counted { count: 2 }).await
        })
        .on_topic("t", handler!([saw] |message: Message| { saw.push(message.trace().map(|trace| trace.trace_id())) }));
    let rig = Rig::new(broker).start(handlers).await;
    let first = message("", "").into_builder().topic(tidings_core::Topic::new("first").unwrap()).build();
    rig.publish(std::slice::from_ref(&first)).await;
    let traces = later.count(2).await;
    assert_eq!(traces, [first.trace().map(|trace| trace.trace_id()); 2]);
    rig.stop().await.unwrap();
}
