//! What is one database's own, and what is refused before any is asked.

use std::future::pending;

use super::*;

#[tokio::test]
async fn a_handler_that_keeps_the_files_only_writer_too_long_fails() {
    async fn slow(_: Placed, _tx: Tx<Sqlite>) {
        pending::<()>().await;
    }
    let bench = Bench::sqlite().await;
    let Database::Sqlite(pool) = bench.database.clone() else { panic!() };
    let (harness, seen) = bench.start(Handlers::new().on(slow.retry(Retry::never())).with_state(pool)).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(1).await;
    assert!(ended[0].starts_with("given up") && ended[0].contains("--transaction-timeout"), "{ended:?}");
    harness.stop().await.unwrap();
}

/// A dropped query runs on in the server, and keeps its locks.
#[tokio::test]
async fn what_the_server_still_does_for_a_cancelled_attempt_is_ended() {
    async fn slow(_: Placed, State(calls): State<Calls>, mut tx: Tx<Postgres>) -> Result<(), Failure> {
        if calls.next() == 1 {
            // So that the server's own limit on a statement comes long after the attempt's end.
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            sqlx::query("SELECT pg_sleep(600)").execute(&mut *tx).await?;
        }
        Ok(())
    }
    let Some(bench) = Bench::postgres().await else { return };
    let Database::Postgres(pool) = bench.database.clone() else { panic!() };
    let app = App::new(pool);
    let slow = slow.timeout(Duration::from_secs(2)).retry(soon());
    let (harness, seen) = bench.start(Handlers::new().on(slow).with_state(app)).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    seen.until(1).await;
    let cancelled = std::time::Instant::now();
    assert_eq!(seen.until(2).await[1], "handled");
    assert!(cancelled.elapsed() < Duration::from_secs(1), "it waited for the statement: {:?}", cancelled.elapsed());
    let asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND state = 'active' AND pid <> pg_backend_pid()";
    assert_eq!(bench.count(asleep).await, 0);
    harness.stop().await.unwrap();
}

/// COMMIT of an aborted transaction answers without an error.
#[tokio::test]
async fn a_swallowed_sql_error_is_a_failed_attempt_on_postgres() {
    async fn careless(order: Placed, State(calls): State<Calls>, mut tx: Tx<Postgres>) -> Result<(), Failure> {
        if calls.next() == 1 {
            let _ = sqlx::query("SELECT 1 / 0").execute(&mut *tx).await;
        } else {
            Postgres::book(&mut tx, &order.id).await?;
        }
        Ok(())
    }
    let Some(bench) = Bench::postgres().await else { return };
    let Database::Postgres(pool) = bench.database.clone() else { panic!() };
    let (harness, seen) = bench.start(Handlers::new().on(careless.retry(soon())).with_state(App::new(pool))).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(2).await;
    assert!(ended[0].contains("did not commit") && ended[1] == "handled", "{ended:?}");
    assert_eq!((bench.bookings().await, bench.records().await), (1, 1));
    harness.stop().await.unwrap();
}

/// What is written after that is in no transaction.
#[tokio::test]
async fn a_transaction_that_sqlite_ended_by_itself_is_a_failed_attempt() {
    async fn careless(order: Placed, State(calls): State<Calls>, mut tx: Tx<Sqlite>) -> Result<Publish<Booked>, Failure> {
        let call = calls.next();
        if call == 1 {
            let _ = sqlx::query("INSERT OR ROLLBACK INTO bookings (id) VALUES ('there')").execute(&mut *tx).await;
        } else {
            Sqlite::book(&mut tx, &order.id).await?;
        }
        Ok(Publish::one(Booked { id: format!("{} {call}", order.id) }))
    }
    let bench = Bench::sqlite().await;
    bench.execute("INSERT INTO bookings (id) VALUES ('there')").await;
    let Database::Sqlite(pool) = bench.database.clone() else { panic!() };
    let (harness, seen) = bench.start(Handlers::new().on(careless.retry(soon())).with_state(App::new(pool))).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(3).await;
    assert!(ended[0].contains("did not commit") && ended[0].contains("ON CONFLICT ROLLBACK"), "{ended:?}");
    assert_eq!(ended[1..], ["handled", "handled"]);
    assert_eq!(bench.booked(1).await, ["1 2"]);
    assert_eq!((bench.bookings().await, bench.records().await), (2, 1));
    harness.stop().await.unwrap();
}

/// At any moment of an attempt: what was begun is gone, and what was committed is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_killed_and_comes_back_has_each_effect_once() {
    const COUNT: usize = 60;
    async fn book(order: Placed, State(calls): State<Calls>, mut tx: Tx<Postgres>) -> Result<(), Failure> {
        calls.next();
        Postgres::book(&mut tx, &order.id).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        tx.publish(&Booked { id: order.id }).await?;
        Ok(())
    }
    let Some(mut server) = servers::Postgres::start().await else { return };
    let bench = Bench::on(&server.url()).await;
    let Database::Postgres(pool) = bench.database.clone() else { panic!() };
    let app = App::new(pool);
    let patient = Retry::exponential(Duration::from_millis(50), Duration::from_millis(500)).attempts(100);
    let handlers = Handlers::new().on(book.retry(patient).concurrency(4)).with_state(app.clone());
    let (harness, seen) = bench.start(handlers).await;
    for id in 0..COUNT {
        bench.publisher().publish(&placed(&id.to_string())).await.unwrap();
    }
    for done in [5, 25] {
        let handled = || seen.all().iter().filter(|ended| *ended == "handled").count();
        eventually(Duration::from_secs(60), async || handled() >= done).await;
        server.kill();
        server.restart().await;
    }
    let booked = bench.booked(COUNT).await;
    let all: std::collections::BTreeSet<_> = booked.iter().collect();
    assert_eq!(all.len(), COUNT, "{booked:?}");
    let count = i64::try_from(COUNT).unwrap();
    assert_eq!((bench.bookings().await, bench.records().await), (count, count));
    assert!(seen.all().iter().any(|ended| ended.starts_with("failed")), "nothing was cut: {:?}", seen.all());
    harness.stop().await.unwrap();
}

/// Nobody closes the connections: who waited for an answer would wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_the_database_that_goes_silent_is_waited_for_no_longer_than_an_attempt() {
    const COUNT: usize = 40;
    async fn book(order: Placed, State(calls): State<Calls>, mut tx: Tx<Postgres>) -> Result<Publish<Booked>, Failure> {
        calls.next();
        Postgres::book(&mut tx, &order.id).await?;
        tokio::time::sleep(Duration::from_millis(10)).await;
        Ok(Publish::one(Booked { id: order.id }))
    }
    let Some(server) = servers::Postgres::start().await else { return };
    let proxy = servers::Proxy::start(server.address()).await;
    let bench = Bench::on(&proxy.instead_of(&server.url())).await;
    let Database::Postgres(pool) = bench.database.clone() else { panic!() };
    let app = App::new(pool);
    let patient = Retry::exponential(Duration::from_millis(50), Duration::from_millis(500)).attempts(100);
    let handlers = Handlers::new().on(book.retry(patient).concurrency(4).timeout(Duration::from_secs(1))).with_state(app.clone());
    let (harness, seen) = bench.start(handlers).await;
    for id in 0..COUNT {
        bench.publisher().publish(&placed(&id.to_string())).await.unwrap();
    }
    let handled = || seen.all().iter().filter(|ended| *ended == "handled").count();
    eventually(Duration::from_secs(60), async || handled() >= 5).await;
    proxy.half_open();
    let failed = || seen.all().iter().filter(|ended| ended.contains("longer than 1s")).count();
    eventually(Duration::from_secs(60), async || failed() > 4).await;
    proxy.heal();
    let booked = bench.booked(COUNT).await;
    let all: std::collections::BTreeSet<_> = booked.iter().collect();
    assert_eq!(all.len(), COUNT, "{booked:?}");
    let count = i64::try_from(COUNT).unwrap();
    assert_eq!((bench.bookings().await, bench.records().await), (count, count));
    harness.stop().await.unwrap();
}

#[test]
fn two_transactions_of_one_handler_are_refused() {
    async fn both(_: Placed, _: Tx<Sqlite>, _: Tx<Postgres>) {}
    #[derive(Clone)]
    struct Both(sqlx::SqlitePool, sqlx::PgPool);
    impl FromRef<Both> for sqlx::SqlitePool {
        fn from_ref(both: &Both) -> Self {
            both.0.clone()
        }
    }
    impl FromRef<Both> for sqlx::PgPool {
        fn from_ref(both: &Both) -> Self {
            both.1.clone()
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _inside = runtime.enter();
    let pools = Both(
        sqlx::SqlitePool::connect_lazy("sqlite::memory:").unwrap(),
        sqlx::PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap(),
    );
    let handlers: Handlers = Handlers::new().on(both).with_state(pools);
    let error = handlers.registrations(&GroupName::new("shop").unwrap()).unwrap_err().to_string();
    assert!(error.contains("both") && error.contains("more than one `Tx`"), "{error}");
}
