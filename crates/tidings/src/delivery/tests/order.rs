//! Order, and who waits for whom, on the in-process broker.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tidings_core::Message;
use tokio::{sync::Semaphore, task::yield_now};

use super::{
    super::Limits,
    rig::{Logged, Rig, Seen, body, memory, message},
};
use crate::{Handler, Handlers, Meta, Order, Retry};

#[tokio::test(start_paused = true)]
async fn messages_of_one_key_are_handled_in_order_through_failures_and_others_beside_them() {
    let seen = Seen::new();
    let saw = seen.clone();
    let handler = move |message: Message, meta: Meta| {
        let saw = saw.clone();
        async move {
            let key = meta.key().unwrap().to_string();
            yield_now().await;
            saw.push((key, body(&message)));
            // One in three fails at first.
            let number: u64 = body(&message).parse().unwrap();
            if number.is_multiple_of(3) && meta.attempt() < 3 { Err("not yet") } else { Ok(()) }
        }
    };
    let rig = Rig::new(memory()).start(Handlers::new().on_topic("t", handler)).await;
    let messages: Vec<_> = (0..200).map(|n| message(&format!("k{}", n % 7), &n.to_string())).collect();
    rig.publish(&messages).await;
    let seen = seen.count(200 + 2 * 67).await;
    let mut of_key = HashMap::<String, Vec<u64>>::new();
    for (key, number) in seen {
        of_key.entry(key).or_default().push(number.parse().unwrap());
    }
    for numbers in of_key.values_mut() {
        assert!(numbers.is_sorted(), "{numbers:?}");
        numbers.dedup();
        assert!(numbers.len() >= 28);
    }
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_slow_key_among_a_hundred_delays_no_other() {
    let seen = Seen::new();
    let saw = seen.clone();
    let handler = move |message: Message, meta: Meta| {
        let saw = saw.clone();
        async move {
            if meta.key().unwrap().as_str() == "slow" {
                tokio::time::sleep(Duration::from_secs(10)).await;
            }
            saw.push(body(&message));
        }
    };
    let rig = Rig::new(memory()).start(Handlers::new().on_topic("t", handler)).await;
    let begun = tokio::time::Instant::now();
    let slow = (0..3).map(|_| message("slow", "slow"));
    let quick = (0..100).map(|n| message(&format!("k{n}"), "quick"));
    rig.publish(&slow.chain(quick).collect::<Vec<_>>()).await;
    let first = seen.count(100).await;
    assert!(first.iter().all(|body| body == "quick") && begun.elapsed() < Duration::from_secs(1));
    rig.drain.cut.cancel();
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hung_key_with_a_long_queue_stops_no_other_for_more_than_a_second() {
    let seen = Seen::new();
    let saw = seen.clone();
    let handler = move |message: Message, meta: Meta| {
        let saw = saw.clone();
        async move {
            if meta.key().unwrap().as_str() == "hung" {
                std::future::pending::<()>().await;
            }
            saw.push(body(&message));
        }
    };
    let rig = Rig::new(memory()).start(Handlers::new().on_topic("t", handler)).await;
    let begun = tokio::time::Instant::now();
    let hung = (0..1000).map(|_| message("hung", ""));
    rig.publish(&hung.chain([message("other", "other")]).collect::<Vec<_>>()).await;
    seen.when(|seen| seen == ["other"]).await;
    assert!(begun.elapsed() <= Duration::from_secs(5), "{:?}", begun.elapsed());
    rig.drain.cut.cancel();
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_stops_no_other_while_there_is_room_and_is_named_when_there_is_none() {
    let (seen, logged) = (Seen::new(), Logged::new(tracing::Level::INFO));
    let saw = seen.clone();
    let heals = Arc::new(Semaphore::new(0));
    let healed = Arc::clone(&heals);
    let handler = move |message: Message, meta: Meta| {
        let (saw, healed) = (saw.clone(), Arc::clone(&healed));
        async move {
            if meta.key().unwrap().as_str() == "stuck" && healed.available_permits() == 0 {
                return Err("not yet");
            }
            saw.push(body(&message));
            Ok(())
        }
    };
    let minute = Duration::from_secs(60);
    let retry = Retry::exponential(minute / 60, minute / 12).for_at_most(minute);
    let limits = Limits { parked: 20, in_flight: 8, concurrency: 4, ..Limits::default() };
    let rig = Rig::with(memory(), limits).start(Handlers::new().on_topic("t", handler.retry(retry))).await;

    let stuck = |n: usize| (0..n).map(|n| message("stuck", &format!("stuck {n}")));
    rig.publish(&stuck(15).chain([message("other", "one")]).collect::<Vec<_>>()).await;
    seen.when(|seen| seen == ["one"]).await;
    rig.publish(&stuck(10).chain([message("other", "two")]).collect::<Vec<_>>()).await;
    super::rig::soon(async {
        while logged.lines_with("nothing is fetched").is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let lines = logged.lines_with("nothing is fetched");
    assert!(lines.len() == 1 && lines[0].contains("key=stuck"), "{lines:?}");
    assert!(rig.metrics().contains("blocked_by_key{group=\"g\",pattern=\"t\"} 1"), "{}", rig.metrics());
    assert_eq!(seen.all(), ["one"]);

    heals.add_permits(1);
    let seen = seen.count(27).await;
    assert_eq!(seen.iter().filter(|body| body.starts_with("stuck")).count(), 25);
    assert!(seen.iter().any(|body| body == "two"));
    assert!(rig.metrics().contains("blocked_by_key{group=\"g\",pattern=\"t\"} 0"));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_order_messages_of_one_key_run_beside_each_other() {
    let (permits, done) = (Arc::new(Semaphore::new(0)), Seen::new());
    let (wanted, saw) = (Arc::clone(&permits), done.clone());
    let handler = move |message: Message| {
        let (wanted, saw) = (Arc::clone(&wanted), saw.clone());
        async move {
            if body(&message) == "first" {
                let _permit = wanted.acquire().await;
                saw.push("first");
            } else {
                saw.push("second");
                wanted.add_permits(1);
            }
        }
    };
    let rig = Rig::new(memory()).start(Handlers::new().on_topic("t", handler.order(Order::None))).await;
    rig.publish(&[message("k", "first"), message("k", "second")]).await;
    done.when(|done| done == ["second", "first"]).await;
    rig.stop().await.unwrap();
}
