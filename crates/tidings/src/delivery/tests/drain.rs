//! How a subscription ends.

use std::{sync::Arc, time::Duration};

use tidings_core::{Broker, Message, Outcome};
use tokio::sync::Semaphore;

use super::{
    super::Limits,
    rig::{Logged, Rig, Seen, body, memory, message},
    scripted::{Asked, Scripted},
};
use crate::{Failure, Handler, Handlers, Order};

fn waiting(seen: &Seen<String>, gate: &Arc<Semaphore>) -> Handlers {
    let (seen, gate) = (seen.clone(), Arc::clone(gate));
    let handler = move |message: Message| {
        let (seen, gate) = (seen.clone(), Arc::clone(&gate));
        async move {
            seen.push(body(&message));
            gate.acquire().await.unwrap().forget();
        }
    };
    Handlers::new().on_topic("t", handler.concurrency(2))
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_runs_and_hands_back_the_rest_in_order() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(0)));
    let rig = Rig::new(scripted.broker()).start(waiting(&seen, &gate)).await;
    scripted.deliver((1..=5).map(|n| message("", &n.to_string())));
    seen.count(2).await;
    rig.drain.stop.cancel();
    let back = Outcome::HandBack;
    assert_eq!(scripted.when_settled(3).await, [(3, back), (4, back), (5, back)]);
    gate.add_permits(2);
    rig.ended().await.unwrap();
    assert_eq!(scripted.settled()[3..], [(1, Outcome::Ack), (2, Outcome::Ack)]);
    assert_eq!(scripted.asked.all().last(), Some(&Asked::Close));
    assert_eq!(*scripted.maxima.all().last().unwrap(), 0, "membership is kept up until the end");
}

#[tokio::test(start_paused = true)]
async fn a_hung_handler_is_cut_handed_back_and_named() {
    let (scripted, seen, logged) = (Scripted::new(), Seen::new(), Logged::new(tracing::Level::WARN));
    let rig = Rig::new(scripted.broker()).start(waiting(&seen, &Arc::new(Semaphore::new(0)))).await;
    scripted.deliver([message("", "1")]);
    seen.count(1).await;
    rig.drain.stop.cancel();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(scripted.settled().is_empty());
    rig.drain.cut.cancel();
    rig.ended().await.unwrap();
    assert_eq!(scripted.settled(), [(1, Outcome::HandBack)]);
    let lines = logged.lines_with("did not end in time");
    assert!(lines.len() == 1 && lines[0].contains("drain::waiting") && lines[0].contains("trace_id="), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_cannot_be_cancelled_holds_up_the_end_for_a_second_at_most() {
    let (broker, seen) = (memory(), Seen::new());
    let (ends, end) = std::sync::mpsc::channel::<()>();
    let end = Arc::new(std::sync::Mutex::new(end));
    let saw = seen.clone();
    let handlers = Handlers::new().on_topic(
        "t",
        handler!([saw, end] |_: Message| {
            tokio::task::yield_now().await;
            saw.push(());
            // A computation, or a blocking call.
            let _ = end.lock().unwrap().recv();
        }),
    );
    let rig = Rig::new(broker).start(handlers).await;
    rig.publish(&[message("", "")]).await;
    seen.count(1).await;
    rig.drain.cut.cancel();
    rig.stop().await.unwrap();
    drop(ends);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_its_next_attempt_goes_back_with_its_failures_where_no_order_is_broken() {
    for (key, order, outcome) in [("", Order::Key, Some(1)), ("k", Order::None, Some(1)), ("k", Order::Key, None)] {
        let (scripted, seen) = (Scripted::new(), Seen::new());
        let saw = seen.clone();
        let handler = handler!([saw] |_: Message| {
            saw.push(());
            Err::<(), _>(Failure::retry_after("later", Duration::from_millis(900)))
        });
        let rig = Rig::new(scripted.broker()).start(Handlers::new().on_topic("t", handler.order(order))).await;
        scripted.deliver([message(key, "")]);
        seen.count(1).await;
        rig.stop().await.unwrap();
        match (outcome, &scripted.settled()[..]) {
            (Some(failures), [(1, Outcome::Retry { attempts, .. })]) => assert_eq!(*attempts, failures),
            (None, [(1, Outcome::HandBack)]) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_can_go_back_what_came_is_handled_and_what_is_left_at_the_cut_is_logged_and_counted() {
    let (scripted, seen, gate) = (Scripted::new(), Seen::new(), Arc::new(Semaphore::new(3)));
    scripted.capabilities.lock().unwrap().durable = false;
    let logged = Logged::new(tracing::Level::ERROR);
    let rig = Rig::new(scripted.broker()).start(waiting(&seen, &gate)).await;
    scripted.deliver((1..=6).map(|n| message("", &n.to_string())));
    seen.count(5).await;
    rig.drain.stop.cancel();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(seen.all().len(), 5);
    rig.drain.cut.cancel();
    let ground = rig.ground.clone();
    rig.ended().await.unwrap();
    assert!(scripted.settled().iter().all(|(_, outcome)| *outcome == Outcome::Ack));
    assert_eq!((scripted.settled().len(), logged.lines_with("is lost").len()), (3, 3));
    assert!(ground.metrics.encode().unwrap().contains("messages_dead_lettered_total{group=\"g\",pattern=\"t\"} 3"));
}

#[tokio::test(start_paused = true)]
async fn outcomes_that_cannot_be_stored_hold_up_the_end_no_longer_than_the_cut() {
    let scripted = Scripted::new();
    scripted.settles.send_replace(false);
    let seen = Seen::new();
    let saw = seen.clone();
    let handlers = Handlers::new().on_topic("t", handler!([saw] |_: Message| { saw.push(()) }));
    let rig = Rig::new(scripted.broker()).start(handlers).await;
    scripted.deliver([message("", "")]);
    seen.count(1).await;
    rig.drain.stop.cancel();
    let cut = rig.drain.cut.clone();
    let cutter = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        cut.cancel();
    });
    let begun = tokio::time::Instant::now();
    rig.ended().await.unwrap();
    assert!((20.0..24.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
    cutter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_was_never_stopped_goes_on() {
    let broker = memory();
    let limits = Limits { in_flight: 1, concurrency: 1, ..Limits::default() };
    let seen = Seen::new();
    let saw = seen.clone();
    let handlers = Handlers::new().on_topic("t", handler!([saw] |message: Message| { saw.push(body(&message)) }));
    let rig = Rig::with(broker.clone(), limits).start(handlers).await;
    for n in 0..1000 {
        broker.publish(&[message("k", &n.to_string())]).await.unwrap();
    }
    assert_eq!(seen.count(1000).await, (0..1000).map(|n| n.to_string()).collect::<Vec<_>>());
    rig.stop().await.unwrap();
}
