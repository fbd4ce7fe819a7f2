//! `Tx` on real databases: what commits together, what a second delivery finds, and what an attempt that was given up leaves.

#![cfg(all(feature = "memory", feature = "postgres", feature = "sqlite"))]

mod alone;
mod cases;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use sqlx::{Postgres, Sqlite};
use tidings_core::{Broker, GroupName, Key, Message, MessageId};
use tidings_memory::{Memory, Settings};
use tidings_testing::servers::{self, Shared, eventually};

use super::{Inbox, Tx, TxDatabase};
use crate::{
    __private::{Attempt, Ended, Harness, Watch},
    Event, Failure, FromRef, Handler, Handlers, Publish, Publisher, Retry, Source, State,
    database::{Database, DatabaseOptions},
    delivery::Backlog,
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
pub(super) struct Seen(Mutex<Vec<String>>);

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
    pub(super) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub(super) async fn until(&self, count: usize) -> Vec<String> {
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
                super::cases::$case::<sqlx::Sqlite>(bench, pool).await;
            })*
        }

        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(bench) = super::Bench::postgres().await else { return };
                let super::Database::Postgres(pool) = bench.database.clone() else { panic!() };
                super::cases::$case::<sqlx::Postgres>(bench, pool).await;
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
    old_records_of_a_subscription_are_removed_when_its_backlog_has_come
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
