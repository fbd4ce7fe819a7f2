//! What goes out, in which order.

use tidings_core::TraceContext;

use super::*;

#[tokio::test]
async fn a_committed_event_arrives_as_it_was_published_and_its_row_goes() {
    for bench in Bench::all().await {
        let (broker, mut received) = broker().await;
        let running = bench.relay(&broker);
        let trace = TraceContext::start().with_state("v=1");
        crate::trace::scope(crate::trace::Work::Call(trace.clone()), bench.publish(&[Noted { key: Some("k"), number: 7 }])).await;
        let message = received.take(1).await.remove(0);
        assert_eq!((number(&message), message.source().as_str(), message.topic().as_str()), (7, "/users", "noted"));
        assert_eq!(message.key().unwrap().as_str(), "k");
        assert_eq!(message.content_type().unwrap().as_str(), "text/plain");
        assert_eq!(message.trace().unwrap().trace_id(), trace.trace_id());
        assert_eq!(message.trace().unwrap().state(), Some("v=1"));
        assert!(message.time().unwrap().elapsed().unwrap() < DEADLINE);
        bench.until_empty().await;
        running.stop().await;
        assert_eq!(bench.metrics.relayed.get(), 1);
    }
}

#[tokio::test]
async fn a_transaction_that_is_rolled_back_has_published_nothing() {
    for bench in Bench::all().await {
        let (broker, mut received) = broker().await;
        let running = bench.relay(&broker);
        let mut tx = Tx::begin(&bench.database).await;
        tx.publish(&bench.outbox, &[noted(1)]).await;
        drop(tx);
        bench.publish(&[noted(2)]).await;
        assert_eq!(received.numbers(1).await, [2]);
        running.stop().await;
    }
}

#[tokio::test]
async fn the_messages_of_a_key_keep_the_order_of_their_commits() {
    for bench in Bench::all().await {
        for number in 0..300 {
            let key = ["a", "b", "c"][number as usize % 3];
            bench.publish(&[Noted { key: Some(key), number }]).await;
        }
        let (broker, mut received) = broker().await;
        let running = bench.relay(&broker);
        let messages = received.take(300).await;
        for key in ["a", "b", "c"] {
            let numbers: Vec<_> = messages.iter().filter(|message| message.key().unwrap().as_str() == key).map(number).collect();
            assert!(numbers.is_sorted() && numbers.len() == 100, "{key}: {numbers:?}");
        }
        running.stop().await;
    }
}

#[tokio::test]
async fn a_hot_key_stops_no_other() {
    for bench in Bench::all().await {
        let hot: Vec<_> = (0..1000).map(|number| Noted { key: Some("hot"), number }).collect();
        bench.publish(&hot).await;
        bench.publish(&[Noted { key: Some("cold"), number: 5000 }]).await;
        let (broker, mut received) = broker().await;
        let running = bench.relay(&broker);
        let numbers = received.numbers(1001).await;
        let place = numbers.iter().position(|number| *number == 5000).unwrap();
        assert!(place < 500, "the cold key's message came as number {place}");
        assert!(numbers.iter().filter(|number| **number != 5000).is_sorted());
        running.stop().await;
    }
}

#[tokio::test]
async fn a_backlog_of_many_looks_keeps_the_order_of_a_key() {
    for bench in Bench::all().await {
        for first in (0..3000).step_by(20) {
            let key = |number: u32| number.is_multiple_of(2).then_some("hot");
            let some: Vec<_> = (first..first + 20).map(|number| Noted { key: key(number), number }).collect();
            bench.publish(&some).await;
        }
        let (broker, mut received) = broker().await;
        let running = bench.relay(&broker);
        let numbers = received.numbers(3000).await;
        assert!(numbers.iter().filter(|number| number.is_multiple_of(2)).is_sorted());
        until("every row is gone", async || bench.count("tidings_outbox").await == 0).await;
        running.stop().await;
    }
}

#[tokio::test]
async fn two_services_in_one_database_move_their_own_rows() {
    for bench in Bench::all().await {
        let (broker, mut received) = broker().await;
        let orders = outbox_of(&bench.database, "orders").await;
        let mut tx = Tx::begin(&bench.database).await;
        tx.publish(&orders, &[noted(1)]).await;
        tx.commit().await;
        let running = bench.relay(&broker);
        bench.publish(&[noted(2)]).await;
        assert_eq!(received.numbers(1).await, [2]);
        until("the own row is gone", async || bench.count("tidings_outbox").await == 1).await;
        running.stop().await;
        assert_eq!(bench.count("tidings_outbox").await, 1);
    }
}

#[tokio::test]
async fn a_stop_sends_what_was_committed_before_it() {
    for bench in Bench::all().await {
        let (broker, mut received) = broker().await;
        let running = bench.relay(&broker);
        for number in 0..200 {
            bench.publish(&[noted(number)]).await;
        }
        running.stop().await;
        assert_eq!(bench.count("tidings_outbox").await, 0);
        assert_eq!(received.numbers(200).await.len(), 200);
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_sent_leaves_the_transaction_whole() {
    for bench in Bench::all().await {
        let mut tx = Tx::begin(&bench.database).await;
        let bad = Noted { key: Some("a\0b"), number: 1 };
        let refused = match &mut tx {
            Tx::Sqlite(tx) => bench.outbox.publish(tx, &bad).await,
            #[cfg(feature = "postgres")]
            Tx::Postgres(tx) => bench.outbox.publish(tx, &bad).await,
        };
        assert!(refused.unwrap_err().to_string().contains("invalid key"));
        tx.publish(&bench.outbox, &[noted(2)]).await;
        tx.commit().await;
        assert_eq!(bench.count("tidings_outbox").await, 1);
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_transaction_that_commits_late_is_not_passed_over() {
    let Some(bench) = Bench::postgres().await else { return };
    let (broker, mut received) = broker().await;
    let running = bench.relay(&broker);
    let mut late = Tx::begin(&bench.database).await;
    late.publish(&bench.outbox, &[noted(1)]).await;
    bench.publish(&[noted(2)]).await;
    assert_eq!(received.numbers(1).await, [2]);
    late.commit().await;
    assert_eq!(received.numbers(1).await, [1]);
    running.stop().await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn writers_of_one_key_that_share_no_row_are_ordered_by_their_commits() {
    let Some(bench) = Bench::postgres().await else { return };
    let mut first = Tx::begin(&bench.database).await;
    first.publish(&bench.outbox, &[Noted { key: Some("k"), number: 1 }]).await;
    let (database, outbox) = (bench.database.clone(), bench.outbox.clone());
    let second = tokio::spawn(async move {
        let mut tx = Tx::begin(&database).await;
        tx.publish(&outbox, &[Noted { key: Some("k"), number: 2 }]).await;
        tx.commit().await;
    });
    let waiting = "pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = \
                   (SELECT oid FROM pg_database WHERE datname = current_database())";
    until("the second writer waits for the key", async || bench.count(waiting).await == 1).await;
    first.commit().await;
    second.await.unwrap();
    let (broker, mut received) = broker().await;
    let running = bench.relay(&broker);
    assert_eq!(received.numbers(2).await, [1, 2]);
    running.stop().await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_deadlock_says_that_the_transaction_is_to_be_run_again() {
    let Some(bench) = Bench::postgres().await else { return };
    let begin = async |key| {
        let mut tx = Tx::begin(&bench.database).await;
        tx.publish(&bench.outbox, &[Noted { key: Some(key), number: 1 }]).await;
        let Tx::Postgres(tx) = tx else { unreachable!("of Postgres") };
        tx
    };
    let (mut one, mut two) = (begin("1").await, begin("2").await);
    let (of_one, of_two) = (Noted { key: Some("2"), number: 1 }, Noted { key: Some("1"), number: 1 });
    let crossed = tokio::join!(bench.outbox.publish(&mut one, &of_one), async {
        let result = bench.outbox.publish(&mut two, &of_two).await;
        drop(two);
        result
    });
    let failed = crossed.0.err().or(crossed.1.err()).expect("one of them is the victim");
    assert!(matches!(failed, tidings_core::PublishError::Conflict(_)), "{failed:?}");
}
