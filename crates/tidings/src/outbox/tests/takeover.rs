//! One relay at a time, and always one.

use super::*;

#[tokio::test]
async fn a_second_relay_sends_nothing_until_the_first_is_gone() {
    for bench in Bench::all().await {
        let (broker, mut received) = broker().await;
        let first = bench.relay(&broker);
        bench.publish(&[noted(1)]).await;
        assert_eq!(received.numbers(1).await, [1]);
        let second = bench.relay(&broker);
        let events: Vec<_> = (2..=200).map(noted).collect();
        bench.publish(&events).await;
        let mut numbers = received.numbers(199).await;
        bench.until_empty().await;
        first.crash().await;
        bench.publish(&[noted(201)]).await;
        numbers.extend(received.numbers(1).await);
        numbers.sort_unstable();
        assert_eq!(numbers, (2..=201).collect::<Vec<_>>(), "each once");
        second.stop().await;
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_relay_whose_connection_is_cut_gets_its_lock_back_and_goes_on() {
    let Some(bench) = Bench::postgres().await else { return };
    let (broker, mut received) = broker().await;
    let running = bench.relay(&broker);
    bench.publish(&[noted(1)]).await;
    assert_eq!(received.numbers(1).await, [1]);
    let Database::Postgres(pool) = &bench.database else { unreachable!("of Postgres") };
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = \
               (SELECT oid FROM pg_database WHERE datname = current_database())";
    sqlx::query(cut).execute(pool).await.unwrap();
    bench.publish(&[noted(2)]).await;
    assert_eq!(received.numbers(1).await, [2]);
    running.stop().await;
}

#[tokio::test]
async fn a_relay_that_is_cut_ends_at_once_and_leaves_the_rows() {
    for bench in Bench::all().await {
        let (broker, _received) = broker().await;
        let running = bench.relay(&broker);
        running.cut.cancel();
        running.task.await.unwrap().unwrap();
        bench.publish(&[noted(1)]).await;
        assert_eq!(bench.count("tidings_outbox").await, 1);
    }
}
