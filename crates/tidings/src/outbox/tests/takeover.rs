//! One relay at a time, and always one.

use super::*;
#[cfg(feature = "postgres")]
use crate::outbox::{Wake, relay::Notified};

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
        let gone = tokio::time::Instant::now();
        first.crash().await;
        bench.publish(&[noted(201)]).await;
        numbers.extend(received.numbers(1).await);
        assert!(gone.elapsed() >= Duration::from_secs(3), "what the first had sent may still be on its way");
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

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_relay_elsewhere_is_told_of_rows_where_that_is_set() {
    let Some(bench) = Bench::postgres().await else { return };
    let Database::Postgres(pool) = &bench.database else { unreachable!("of Postgres") };
    let mut notified = Notified::listen(pool, "users").await.unwrap();
    let told = OutboxOptions { wake: Wake::Notify, ..OutboxOptions::default() };
    let elsewhere = Outbox::open(&bench.database, "users", Source::new("/users").unwrap(), told).await.unwrap();
    let mut tx = Tx::begin(&bench.database).await;
    tx.publish(&elsewhere, &[noted(1)]).await;
    tx.commit().await;
    tokio::time::timeout(Duration::from_secs(30), notified.next()).await.unwrap();
    // A relay that listens moves it, too.
    let (broker, mut received) = broker().await;
    let running = Running::start(Relay::new(
        bench.database.clone(),
        &elsewhere,
        Arc::clone(&broker),
        bench.metrics.clone(),
        Readiness::new().part("outbox"),
    ));
    assert_eq!(received.numbers(1).await, [1]);
    running.stop().await;
}
