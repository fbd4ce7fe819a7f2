//! `Tx` on real databases: what commits together, what a second delivery finds, and what an attempt that was given up leaves.

#![cfg(all(feature = "memory", feature = "postgres", feature = "sqlite"))]

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{Postgres, Sqlite};
use tidings_core::{Broker, GroupName, Key, Message, MessageId};
use tidings_memory::{Memory, Settings};
use tidings_testing::servers::{self, Shared, eventually};

use super::{Tx, TxDatabase, sweep::remove_older};
use crate::{
    __private::{Attempt, Ended, Harness, Watch},
    Event, Failure, FromRef, Handler, Handlers, Publish, Publisher, Retry, Source, State,
    database::{Database, DatabaseOptions},
};

#[derive(Debug, Clone, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "order.placed", key = "id")]
struct Placed {
    id: String,
}

#[derive(Debug, Clone, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "order.booked", key = "id")]
struct Booked {
    id: String,
}

fn placed(id: &str) -> Placed {
    Placed { id: id.to_owned() }
}

/// All that a test's attempts ended with.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<String>>);

impl Watch for Seen {
    fn ended(&self, attempt: &Attempt<'_>) {
        let ended = match attempt.ended {
            Ended::Handled => "handled".to_owned(),
            Ended::Failed { error, .. } => format!("failed: {error}"),
            Ended::GivenUp { error } => format!("given up: {error}"),
        };
        self.0.lock().unwrap().push(ended);
    }
}

impl Seen {
    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    async fn until(&self, count: usize) -> Vec<String> {
        eventually(Duration::from_secs(20), async || self.all().len() >= count).await;
        self.all()
    }
}

/// A database with a table of the user's, and a broker.
struct Bench {
    database: Database,
    broker: Arc<Memory>,
    booked: Arc<Mutex<Vec<String>>>,
    _folder: Option<tempfile::TempDir>,
    _server: Option<Shared<servers::Postgres>>,
}

impl Bench {
    async fn on(url: &str) -> Self {
        let database = Database::open(url, &DatabaseOptions::default(), |_| ()).await.unwrap();
        let bench = Self {
            database,
            broker: Arc::new(Memory::private(Settings::default())),
            booked: Arc::default(),
            _folder: None,
            _server: None,
        };
        bench.execute("CREATE TABLE bookings (id text PRIMARY KEY)").await;
        bench
    }

    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        Self { _folder: Some(folder), ..Self::on(&url).await }
    }

    async fn postgres() -> Option<Self> {
        let server = servers::Postgres::shared().await?;
        let url = server.database().await;
        Some(Self { _server: Some(server), ..Self::on(&url).await })
    }

    async fn execute(&self, sql: &'static str) {
        match &self.database {
            Database::Sqlite(pool) => sqlx::query(sql).execute(pool).await.map(drop),
            Database::Postgres(pool) => sqlx::query(sql).execute(pool).await.map(drop),
        }
        .unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        match &self.database {
            Database::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
            Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        }
        .unwrap()
    }

    async fn bookings(&self) -> i64 {
        self.count("SELECT count(*) FROM bookings").await
    }

    async fn records(&self) -> i64 {
        self.count("SELECT count(*) FROM tidings_inbox").await
    }

    async fn start(&self, handlers: Handlers) -> (Harness, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let booked = Arc::clone(&self.booked);
        let note = move |event: Booked| {
            booked.lock().unwrap().push(event.id);
            std::future::ready(())
        };
        let handlers = handlers.on(note.group("notes"));
        let watch: Arc<dyn Watch> = seen.clone();
        (Harness::start(self.broker.clone(), "shop", handlers, watch).await.unwrap(), seen)
    }

    fn publisher(&self) -> Publisher {
        Publisher::new(self.broker.clone(), Source::new("/case").unwrap())
    }

    /// The same message, as often as a broker may bring it.
    async fn publish_twice(&self, id: &str) {
        for _ in 0..2 {
            let body = format!("{{\"id\":\"{id}\"}}").into();
            let message = Message::builder("order.placed".parse().unwrap(), Source::new("/shop").unwrap(), body)
                .id(MessageId::new(id).unwrap())
                .dedup_id(MessageId::generate().to_string())
                .key(Key::new(id).unwrap())
                .build();
            self.broker.publish(std::slice::from_ref(&message)).await.unwrap();
        }
    }

    async fn booked(&self, count: usize) -> Vec<String> {
        eventually(Duration::from_secs(20), async || self.booked.lock().unwrap().len() >= count).await;
        self.booked.lock().unwrap().clone()
    }
}

/// Once for each database; a case names the database by `$Db`.
macro_rules! on_both {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let bench = super::Bench::sqlite().await;
                let super::Database::Sqlite(pool) = bench.database.clone() else { panic!() };
                super::$case::<sqlx::Sqlite>(bench, pool).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(bench) = super::Bench::postgres().await else { return };
                let super::Database::Postgres(pool) = bench.database.clone() else { panic!() };
                super::$case::<sqlx::Postgres>(bench, pool).await;
            })*
        }
    };
}

on_both! {
    a_write_its_event_and_the_record_commit_together_and_once
    nothing_of_a_failed_attempt_has_happened
    an_event_that_is_answered_goes_out_with_the_commit
    two_deliveries_at_once_have_one_effect
    an_attempt_that_is_cancelled_leaves_nothing_and_the_next_one_succeeds
    a_panic_leaves_nothing
    a_transaction_that_is_kept_beyond_the_handler_is_no_success
    groups_handle_the_same_message_each_for_itself
    old_records_are_removed_and_young_ones_stay
}

/// What the cases write, in either dialect.
trait Books: TxDatabase {
    fn book(tx: &mut Tx<Self>, id: &str) -> impl Future<Output = sqlx::Result<()>> + Send;
}

const BOOK: &str = "INSERT INTO bookings (id) VALUES ($1)";

impl Books for Sqlite {
    async fn book(tx: &mut Tx<Self>, id: &str) -> sqlx::Result<()> {
        sqlx::query(BOOK).bind(id).execute(&mut **tx).await.map(drop)
    }
}

impl Books for Postgres {
    async fn book(tx: &mut Tx<Self>, id: &str) -> sqlx::Result<()> {
        sqlx::query(BOOK).bind(id).execute(&mut **tx).await.map(drop)
    }
}

/// A state with a pool and a count of calls.
struct App<Db: sqlx::Database> {
    pool: sqlx::Pool<Db>,
    calls: Arc<AtomicU32>,
}

impl<Db: sqlx::Database> Clone for App<Db> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), calls: Arc::clone(&self.calls) }
    }
}

impl<Db: sqlx::Database> App<Db> {
    fn new(pool: sqlx::Pool<Db>) -> Self {
        Self { pool, calls: Arc::default() }
    }

    fn called(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Counts the calls: which one this is.
#[derive(Clone)]
struct Calls(Arc<AtomicU32>);

impl Calls {
    fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }
}

impl<Db: sqlx::Database> FromRef<App<Db>> for Calls {
    fn from_ref(app: &App<Db>) -> Self {
        Self(Arc::clone(&app.calls))
    }
}

impl FromRef<App<Sqlite>> for sqlx::SqlitePool {
    fn from_ref(app: &App<Sqlite>) -> Self {
        app.pool.clone()
    }
}

impl FromRef<App<Postgres>> for sqlx::PgPool {
    fn from_ref(app: &App<Postgres>) -> Self {
        app.pool.clone()
    }
}

fn soon() -> Retry {
    Retry::exponential(Duration::from_millis(1), Duration::from_millis(5))
}

async fn a_write_its_event_and_the_record_commit_together_and_once<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn nothing_of_a_failed_attempt_has_happened<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn an_event_that_is_answered_goes_out_with_the_commit<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn two_deliveries_at_once_have_one_effect<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn an_attempt_that_is_cancelled_leaves_nothing_and_the_next_one_succeeds<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn a_panic_leaves_nothing<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn a_transaction_that_is_kept_beyond_the_handler_is_no_success<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn groups_handle_the_same_message_each_for_itself<Db: Books>(bench: Bench, pool: sqlx::Pool<Db>)
where
    App<Db>: super::HasPool<Db>,
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

async fn old_records_are_removed_and_young_ones_stay<Db: Books>(bench: Bench, _: sqlx::Pool<Db>) {
    super::prepare(&bench.database).await.unwrap();
    bench
        .execute("INSERT INTO tidings_inbox (subscription, source, message_id, handled_at) VALUES ('g t', '/s', 'old', 7)")
        .await;
    let now = crate::outbox::micros(std::time::SystemTime::now());
    let young = "INSERT INTO tidings_inbox (subscription, source, message_id, handled_at) VALUES ('g t', '/s', 'young', $1)";
    match &bench.database {
        Database::Sqlite(pool) => sqlx::query(young).bind(now).execute(pool).await.map(drop),
        Database::Postgres(pool) => sqlx::query(young).bind(now).execute(pool).await.map(drop),
    }
    .unwrap();
    assert_eq!(remove_older(&bench.database, Duration::from_secs(60)).await.unwrap(), 1);
    assert_eq!(bench.records().await, 1);
    assert_eq!(remove_older(&bench.database, Duration::MAX).await.unwrap(), 0);
}

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
