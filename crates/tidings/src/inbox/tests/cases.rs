//! What holds on both databases.

use std::future::pending;

use super::*;

pub(super) async fn a_write_its_event_and_the_record_commit_together_and_once<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    async fn book<Db: Books>(order: Placed, State(calls): State<Calls>, mut tx: Tx<Db>) -> Result<(), Failure> {
        calls.next();
        Db::book(&mut tx, &order.id).await?;
        tx.publish(&Booked { id: order.id }).await?;
        Ok(())
    }
    let app = App::new(pool);
    let (harness, seen) = bench.start(Handlers::new().on(book::<Db>).with_state(app.clone())).await;
    bench.publish_twice("1").await;
    assert_eq!(seen.until(3).await, ["handled"; 3], "both deliveries and the event");
    assert_eq!(bench.booked(1).await, ["1"]);
    assert_eq!((app.called(), bench.bookings().await, bench.records().await), (1, 1, 1));
    harness.stop().await.unwrap();
}

pub(super) async fn nothing_of_a_failed_attempt_has_happened<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    /// Swallows an SQL error, which aborts a transaction of Postgres, and then fails or not.
    async fn book<Db: Books>(order: Placed, State(calls): State<Calls>, mut tx: Tx<Db>) -> Result<(), Failure> {
        let call = calls.next();
        Db::book(&mut tx, &order.id).await?;
        tx.publish(&Booked { id: format!("{} {call}", order.id) }).await?;
        if call == 1 {
            return Err("not yet".into());
        }
        Ok(())
    }
    let app = App::new(pool);
    let (harness, seen) = bench.start(Handlers::new().on(book::<Db>.retry(soon())).with_state(app.clone())).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(3).await;
    assert_eq!(ended, ["failed: not yet", "handled", "handled"]);
    assert_eq!(bench.booked(1).await, ["1 2"]);
    assert_eq!((bench.bookings().await, bench.records().await), (1, 1));
    harness.stop().await.unwrap();
}

pub(super) async fn an_event_that_is_answered_goes_out_with_the_commit<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    async fn book<Db: Books>(order: Placed, State(calls): State<Calls>, mut tx: Tx<Db>) -> Result<Publish<Booked>, Failure> {
        let call = calls.next();
        Db::book(&mut tx, &order.id).await?;
        let booked = [call, call + 1].map(|part| Booked { id: format!("{} {part}", order.id) });
        let booked = Publish::many(booked).key("one key").header("part", "of many");
        if call == 1 {
            return Ok(booked.header("not a name", ""));
        }
        Ok(booked)
    }
    let app = App::new(pool);
    let (harness, seen) = bench.start(Handlers::new().on(book::<Db>.retry(soon())).with_state(app.clone())).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(4).await;
    assert!(ended[0].starts_with("failed: ") && ended[0].contains("not a name"), "{ended:?}");
    assert_eq!(ended[1..], ["handled"; 3]);
    assert_eq!(bench.booked(2).await, ["1 2", "1 3"]);
    assert_eq!((app.called(), bench.bookings().await), (2, 1));
    harness.stop().await.unwrap();
}

pub(super) async fn two_deliveries_at_once_have_one_effect<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    async fn book<Db: Books>(order: Placed, State(calls): State<Calls>, mut tx: Tx<Db>) -> Result<(), Failure> {
        calls.next();
        Db::book(&mut tx, &order.id).await?;
        Ok(())
    }
    let app = App::new(pool);
    let handlers = || Handlers::new().on(book::<Db>).order(crate::Order::None).with_state(app.clone());
    // Two instances, and no order: both deliveries of a message run side by side.
    let ((one, seen), (other, also_seen)) = (bench.start(handlers()).await, bench.start(handlers()).await);
    for id in 0..50 {
        bench.publish_twice(&id.to_string()).await;
    }
    let both = || seen.all().len() + also_seen.all().len();
    eventually(Duration::from_secs(30), async || both() >= 100).await;
    assert!([seen.all(), also_seen.all()].concat().iter().all(|ended| ended == "handled"));
    assert_eq!((app.called(), bench.bookings().await, bench.records().await), (50, 50, 50));
    one.stop().await.unwrap();
    other.stop().await.unwrap();
}

pub(super) async fn an_attempt_that_is_cancelled_leaves_nothing_and_the_next_one_succeeds<Db: Books>(
    bench: Bench,
    pool: sqlx::Pool<Db>,
) where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    async fn book<Db: Books>(order: Placed, State(calls): State<Calls>, mut tx: Tx<Db>) -> Result<(), Failure> {
        Db::book(&mut tx, &order.id).await?;
        if calls.next() == 1 {
            pending::<()>().await;
        }
        Ok(())
    }
    let app = App::new(pool);
    let patient = book::<Db>.timeout(Duration::from_millis(300)).retry(soon());
    let (harness, seen) = bench.start(Handlers::new().on(patient).with_state(app.clone())).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(2).await;
    assert!(ended[0].contains("300ms"), "{ended:?}");
    assert_eq!(ended[1], "handled");
    assert_eq!((bench.bookings().await, bench.records().await), (1, 1));
    harness.stop().await.unwrap();
}

pub(super) async fn a_panic_leaves_nothing<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    async fn book<Db: Books>(order: Placed, State(calls): State<Calls>, mut tx: Tx<Db>) -> Result<(), Failure> {
        Db::book(&mut tx, &order.id).await?;
        assert!(calls.next() > 1, "a bug");
        Ok(())
    }
    let app = App::new(pool);
    let (harness, seen) = bench.start(Handlers::new().on(book::<Db>.retry(soon())).with_state(app.clone())).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(2).await;
    assert!(ended[0].contains("a bug") && ended[1] == "handled", "{ended:?}");
    assert_eq!(bench.bookings().await, 1);
    harness.stop().await.unwrap();
}

pub(super) async fn a_transaction_that_is_kept_beyond_the_handler_is_no_success<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    async fn book<Db: Books>(_: Placed, State(calls): State<Calls>, mut tx: Tx<Db>) -> Result<(), Failure> {
        if calls.next() == 1 {
            tokio::spawn(async move {
                let _ = Db::book(&mut tx, "lost").await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            });
        }
        Ok(())
    }
    let app = App::new(pool);
    let (harness, seen) = bench.start(Handlers::new().on(book::<Db>.retry(soon())).with_state(app.clone())).await;
    bench.publisher().publish(&placed("1")).await.unwrap();
    let ended = seen.until(2).await;
    assert!(ended[0].contains("`Tx` is still in use") && ended[1] == "handled", "{ended:?}");
    assert_eq!((bench.bookings().await, bench.records().await), (0, 1));
    harness.stop().await.unwrap();
}

pub(super) async fn groups_handle_the_same_message_each_for_itself<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: crate::inbox::HasPool<Db>,
    Calls: FromRef<App<Db>>,
{
    async fn count<Db: Books>(_: Placed, State(calls): State<Calls>, _: Tx<Db>) {
        calls.next();
    }
    let app = App::new(pool);
    let handlers = Handlers::new().on(count::<Db>.group("one")).on(count::<Db>.group("other"));
    let (harness, seen) = bench.start(handlers.with_state(app.clone())).await;
    bench.publish_twice("1").await;
    seen.until(4).await;
    assert_eq!((app.called(), bench.records().await), (2, 2));
    harness.stop().await.unwrap();
}

pub(super) async fn old_records_of_a_subscription_are_removed_when_its_backlog_has_come<Db: Books>(
    bench: Bench,
    _: sqlx::Pool<Db>,
) {
    crate::inbox::prepare(&bench.database).await.unwrap();
    bench
        .execute(
            "INSERT INTO tidings_inbox (subscription, source, message_id, handled_at)
            VALUES ('g t', '/s', 'old', 7), ('g t one-instance', '/s', 'old', 7), ('g t.t', '/s', 'of another', 7)",
        )
        .await;
    let now = crate::outbox::micros(SystemTime::now());
    let young = "INSERT INTO tidings_inbox (subscription, source, message_id, handled_at) VALUES ('g t', '/s', 'young', $1)";
    match &bench.database {
        Database::Sqlite(pool) => sqlx::query(young).bind(now).execute(pool).await.map(drop),
        Database::Postgres(pool) => sqlx::query(young).bind(now).execute(pool).await.map(drop),
    }
    .unwrap();
    let (minute, unsaid) = (Duration::from_secs(60), Duration::ZERO);
    let backlog = Backlog::since(SystemTime::now());
    let inbox = Inbox { database: bench.database.clone(), name: "g t".into(), backlog: backlog.clone() };
    assert_eq!(inbox.forget(minute, unsaid).await.unwrap(), 0, "what they are of may come again");
    backlog.say_drained();
    assert_eq!(inbox.forget(minute, Duration::MAX).await.unwrap(), 0, "the broker keeps what they are of");
    assert_eq!(inbox.forget(minute, unsaid).await.unwrap(), 2);
    assert_eq!(bench.count("SELECT count(*) FROM tidings_inbox WHERE message_id IN ('young', 'of another')").await, 2);
    assert_eq!(bench.records().await, 2);
}
