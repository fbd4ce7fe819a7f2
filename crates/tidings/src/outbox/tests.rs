//! The outbox and its relay on SQLite and on a real Postgres.

use std::{borrow::Cow, sync::Arc, time::Duration};

use bytes::Bytes;
use tidings_core::{BoxError, Broker, Client, Event, Fetched, GroupName, Members, Message, Source, Subscription, TopicPattern};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    Outbox, OutboxOptions,
    relay::{Relay, RelayError},
};
use crate::{
    database::{Database, DatabaseOptions},
    metrics::{Metrics, OutboxMetrics},
    readiness::Readiness,
};

mod delay;
mod faults;
mod order;
mod takeover;

/// An event that is all key and number.
struct Noted {
    key: Option<&'static str>,
    number: u32,
}

impl Event for Noted {
    const TOPIC: &'static str = "noted";
    const CONTENT_TYPE: &'static str = "text/plain";
    fn key(&self) -> Option<Cow<'_, str>> {
        self.key.map(Cow::Borrowed)
    }
    fn encode(&self) -> Result<Bytes, BoxError> {
        Ok(self.number.to_string().into())
    }
    fn decode(_: Option<&str>, _: &Bytes) -> Result<Self, BoxError> {
        Err("only written".into())
    }
}

fn noted(number: u32) -> Noted {
    Noted { key: None, number }
}

/// A database with its outbox; what it stands on ends with it.
struct Bench {
    database: Database,
    outbox: Outbox,
    metrics: OutboxMetrics,
    _folder: Option<tempfile::TempDir>,
    #[cfg(feature = "postgres")]
    _server: Option<tidings_testing::servers::Shared<tidings_testing::servers::Postgres>>,
}

impl Bench {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("test.db").display());
        let mut bench = Self::on(&url).await;
        bench._folder = Some(folder);
        bench
    }

    #[cfg(feature = "postgres")]
    async fn postgres() -> Option<Self> {
        let server = tidings_testing::servers::Postgres::shared().await?;
        let mut bench = Self::on(&server.database().await).await;
        bench._server = Some(server);
        Some(bench)
    }

    /// One for each database that can run here.
    async fn all() -> Vec<Self> {
        let mut all = vec![Self::sqlite().await];
        #[cfg(feature = "postgres")]
        all.extend(Self::postgres().await);
        all
    }

    async fn on(url: &str) -> Self {
        let database = Database::open(url, &DatabaseOptions::default(), |_| ()).await.unwrap();
        let outbox = outbox_of(&database, "users").await;
        Self {
            database,
            outbox,
            metrics: Metrics::new().outbox(),
            _folder: None,
            #[cfg(feature = "postgres")]
            _server: None,
        }
    }

    /// Publishes in a transaction of its own.
    async fn publish(&self, events: &[Noted]) {
        let mut tx = Tx::begin(&self.database).await;
        tx.publish(&self.outbox, events).await;
        tx.commit().await;
    }

    fn relay(&self, broker: &Arc<dyn Broker>) -> Running {
        Running::start(Relay::new(
            self.database.clone(),
            &self.outbox,
            Arc::clone(broker),
            self.metrics.clone(),
            Readiness::new().part("outbox"),
        ))
    }

    async fn count(&self, table: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        match &self.database {
            Database::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await.unwrap(),
        }
    }

    async fn until_empty(&self) {
        until("the outbox is empty", async || self.count("tidings_outbox").await == 0).await;
    }
}

async fn outbox_of(database: &Database, service: &str) -> Outbox {
    let source = Source::new(&format!("/{service}")).unwrap();
    Outbox::open(database, service, source, OutboxOptions::default()).await.unwrap()
}

/// A transaction of either database.
enum Tx {
    Sqlite(crate::database::WriteTransaction),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Tx {
    async fn begin(database: &Database) -> Self {
        match database {
            Database::Sqlite(pool) => Self::Sqlite(crate::database::begin_immediate(pool).await.unwrap()),
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => Self::Postgres(pool.begin().await.unwrap()),
        }
    }

    async fn publish(&mut self, outbox: &Outbox, events: &[Noted]) {
        match self {
            Self::Sqlite(tx) => outbox.publish_all(tx, events).await.unwrap(),
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => outbox.publish_all(tx, events).await.unwrap(),
        }
    }

    async fn commit(self) {
        match self {
            Self::Sqlite(tx) => tx.commit().await.unwrap(),
            #[cfg(feature = "postgres")]
            Self::Postgres(tx) => tx.commit().await.unwrap(),
        }
    }
}

/// A relay in a task of its own.
struct Running {
    task: JoinHandle<Result<(), RelayError>>,
    stop: CancellationToken,
    cut: CancellationToken,
}

impl Running {
    fn start(relay: Relay) -> Self {
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(relay.run(stop.clone(), cut.clone()));
        Self { task, stop, cut }
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// As a crash: nothing more is done.
    async fn crash(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A memory broker and all that is published on it from now on.
async fn broker() -> (Arc<dyn Broker>, Received) {
    let client = Client { service: "test".into(), instance: "1".into() };
    let url = format!("memory:{}", uuid::Uuid::new_v4());
    let broker = tidings_memory::open(&url.parse().unwrap(), &client).await.unwrap();
    let received = Received::from(&broker).await;
    (broker, received)
}

struct Received(Box<dyn tidings_core::Fetch>, Arc<dyn tidings_core::Settle>);

impl Received {
    async fn from(broker: &Arc<dyn Broker>) -> Self {
        let subscription = Subscription {
            group: GroupName::new("test").unwrap(),
            pattern: TopicPattern::new(">").unwrap(),
            members: Members::Share,
            start: None,
            unsettled: 10_000,
        };
        let (fetch, settle) = broker.subscribe(subscription).await.unwrap();
        Self(fetch, settle)
    }

    /// The next `count` messages.
    async fn take(&mut self, count: usize) -> Vec<Message> {
        let mut messages = Vec::new();
        while messages.len() < count {
            let fetched = tokio::time::timeout(DEADLINE, self.0.fetch(count - messages.len())).await.expect("no message in time");
            let Fetched::Deliveries(deliveries) = fetched.unwrap() else { continue };
            let outcomes: Vec<_> = deliveries.iter().map(|one| (one.receipt, tidings_core::Outcome::Ack)).collect();
            self.1.settle(&outcomes).await.unwrap();
            messages.extend(deliveries.into_iter().map(|delivery| delivery.message));
        }
        messages
    }

    async fn numbers(&mut self, count: usize) -> Vec<u32> {
        self.take(count).await.iter().map(number).collect()
    }
}

fn number(message: &Message) -> u32 {
    std::str::from_utf8(message.body()).unwrap().parse().unwrap()
}

const DEADLINE: Duration = Duration::from_secs(20);

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
