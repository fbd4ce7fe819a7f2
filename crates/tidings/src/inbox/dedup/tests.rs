//! What a second message finds, whoever brings it, on both databases.

#![cfg(all(feature = "memory", feature = "postgres", feature = "sqlite"))]

use std::sync::atomic::{AtomicU32, Ordering};

use tidings_testing::servers::{Postgres, Shared, eventually};

use super::*;
use crate::{
    __private::{Harness, Watch},
    Event, Handler, Handlers, Publisher, Retry, Source, State,
    database::DatabaseOptions,
    handlers::SubscriptionName,
    inbox::tests::Seen,
};

#[derive(Debug, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", key = "n")]
struct Created {
    user: String,
    n: u32,
}

#[derive(Clone, Default)]
struct Mails {
    sent: Arc<AtomicU32>,
    fail: Arc<AtomicU32>,
}

async fn mail(_: Created, State(mails): State<Mails>) -> Result<(), Failure> {
    if mails.fail.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
        return Err("the server is away".into());
    }
    mails.sent.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

struct Bench {
    database: Database,
    broker: Arc<tidings_memory::Memory>,
    seen: Arc<Seen>,
    mails: Mails,
    _server: Option<Shared<Postgres>>,
}

impl Bench {
    async fn on(url: &str) -> Self {
        Self {
            database: Database::open(url, &DatabaseOptions::default(), |_| ()).await.unwrap(),
            broker: Arc::new(tidings_memory::Memory::private(tidings_memory::Settings::default())),
            seen: Arc::default(),
            mails: Mails::default(),
            _server: None,
        }
    }

    async fn all() -> Vec<Self> {
        let mut all = vec![Self::on("sqlite::memory:").await];
        if let Some(server) = Postgres::shared().await {
            let url = server.database().await;
            all.push(Self { _server: Some(server), ..Self::on(&url).await });
        }
        all
    }

    async fn dedup(&self) -> Dedup {
        Dedup::open(&self.database).await.unwrap()
    }

    async fn start(&self, dedup: Dedup) -> Harness {
        let retry = Retry::exponential(Duration::from_millis(1), Duration::from_millis(5)).attempts(100);
        let handlers = Handlers::new().on(mail.retry(retry)).layer(dedup).with_state(self.mails.clone());
        let watch: Arc<dyn Watch> = Arc::<Seen>::clone(&self.seen);
        Harness::start(self.broker.clone(), "email", handlers, watch).await.unwrap()
    }

    async fn publish(&self, user: &str, n: u32) {
        let publisher = Publisher::new(self.broker.clone(), Source::new("/users").unwrap());
        publisher.publish(&Created { user: user.to_owned(), n }).await.unwrap();
    }

    async fn handled(&self, count: usize) {
        let handled = || self.seen.all().iter().filter(|ended| *ended == "handled").count();
        eventually(Duration::from_secs(20), async || handled() >= count).await;
    }

    async fn execute(&self, statement: &'static str) {
        match &self.database {
            Database::Sqlite(pool) => drop(sqlx::raw_sql(statement).execute(pool).await.unwrap()),
            Database::Postgres(pool) => drop(sqlx::raw_sql(statement).execute(pool).await.unwrap()),
        }
    }

    /// Of what is remembered.
    async fn scopes(&self) -> Vec<String> {
        const SCOPES: &str = "SELECT scope FROM tidings_dedup ORDER BY scope";
        match &self.database {
            Database::Sqlite(pool) => sqlx::query_scalar(SCOPES).fetch_all(pool).await.unwrap(),
            Database::Postgres(pool) => sqlx::query_scalar(SCOPES).fetch_all(pool).await.unwrap(),
        }
    }

    fn sent(&self) -> u32 {
        self.mails.sent.load(Ordering::SeqCst)
    }
}

fn claim(claimant: &str, expiry: Duration) -> Claim {
    let subscription = SubscriptionName { group: "g".parse().unwrap(), pattern: "t".parse().unwrap() };
    Claim::for_tests(format!("{} {}", subscription.group, subscription.pattern), "ada", claimant, expiry)
}

#[tokio::test]
async fn a_field_is_done_once_whatever_message_brings_it_and_across_restarts() {
    for bench in Bench::all().await {
        for _ in 0..2 {
            let dedup = bench.dedup().await.by(|created: &Created| created.user.clone());
            let harness = bench.start(dedup).await;
            for n in 0..10 {
                bench.publish("ada", n).await;
                bench.publish("grace", n).await;
            }
            let before = bench.seen.all().len();
            bench.handled(before / 20 * 20 + 20).await;
            harness.stop().await.unwrap();
        }
        assert_eq!(bench.sent(), 2);
        assert!(bench.seen.all().iter().all(|ended| ended == "handled"), "nobody had to wait for an expiry");
    }
}

#[tokio::test]
async fn by_identity_each_message_is_done() {
    for bench in Bench::all().await {
        let harness = bench.start(bench.dedup().await).await;
        for n in 0..5 {
            bench.publish("ada", n).await;
        }
        bench.handled(5).await;
        assert_eq!(bench.sent(), 5);
        harness.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_failed_is_tried_again_at_once() {
    for bench in Bench::all().await {
        bench.mails.fail.store(3, Ordering::SeqCst);
        let harness = bench.start(bench.dedup().await.by(|created: &Created| created.user.clone())).await;
        bench.publish("ada", 1).await;
        bench.handled(1).await;
        assert_eq!(bench.seen.all().len(), 4);
        assert_eq!(bench.sent(), 1);
        harness.stop().await.unwrap();
    }
}

#[tokio::test]
async fn what_another_one_has_started_is_left_to_it_until_it_must_have_ended() {
    for bench in Bench::all().await {
        let store = Arc::new(Store::open(&bench.database, None).await.unwrap());
        let long = Duration::from_secs(60);
        let Claimed::Ours(one) = store.claim(claim("one", long)).await.unwrap() else { panic!() };
        let Claimed::Another(left) = store.claim(claim("other", long)).await.unwrap() else { panic!() };
        assert!(left > Duration::from_secs(50) && left <= long, "{left:?}");
        // The same message's next attempt.
        let Claimed::Ours(again) = store.claim(claim("one", long)).await.unwrap() else { panic!() };
        // Long ago, by the other's own limit.
        let Claimed::Ours(other) = store.claim(claim("other", Duration::ZERO)).await.unwrap() else { panic!() };
        // Too late: it is not theirs any more.
        one.given_up().await;
        again.given_up().await;
        assert!(matches!(store.claim(claim("third", long)).await.unwrap(), Claimed::Another(_)));
        other.done().await.unwrap();
        assert!(matches!(store.claim(claim("third", long)).await.unwrap(), Claimed::Done));
    }
}

#[tokio::test]
async fn each_record_is_forgotten_at_its_own_time_whoever_looks() {
    for bench in Bench::all().await {
        let keeps = [("for no time", Some(Duration::ZERO)), ("for long", Some(Duration::MAX)), ("for ever", None)];
        let claim = |scope: &str| Claim::for_tests(scope.to_owned(), "ada", "one", Duration::from_secs(60));
        for (scope, keep) in keeps {
            let store = Arc::new(Store::open(&bench.database, keep).await.unwrap());
            let Claimed::Ours(ours) = store.claim(claim(scope)).await.unwrap() else { panic!() };
            ours.done().await.unwrap();
        }
        bench.execute(MANY_OLD).await;
        let another = Arc::new(Store::open(&bench.database, None).await.unwrap());
        let Claimed::Ours(_started) = another.claim(claim("started")).await.unwrap() else { panic!() };
        another.forget().await.unwrap();
        let left = bench.scopes().await;
        assert_eq!(left, ["for ever", "for long", "started"]);
    }
}

/// More than one statement removes, of a scope that nobody uses any more.
const MANY_OLD: &str = "INSERT INTO tidings_dedup (scope, key, claimant, started_at, done_at, forget_at)
    WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500)
    SELECT 'old', CAST(n AS text), 'one', 0, 0, 1 FROM numbers";

#[tokio::test]
async fn an_attempt_that_is_dropped_gives_up_what_it_had_started() {
    for bench in Bench::all().await {
        let store = Arc::new(Store::open(&bench.database, None).await.unwrap());
        let long = Duration::from_secs(60);
        let Claimed::Ours(one) = store.claim(claim("one", long)).await.unwrap() else { panic!() };
        drop(one);
        let free = async || matches!(store.claim(claim("other", long)).await.unwrap(), Claimed::Ours(_));
        eventually(Duration::from_secs(20), free).await;
    }
}

#[tokio::test]
async fn what_is_done_but_could_not_be_recorded_is_not_done_again() {
    let bench = Bench::on("sqlite::memory:").await;
    let harness = bench.start(bench.dedup().await.by(|created: &Created| created.user.clone())).await;
    let Database::Sqlite(pool) = &bench.database else { panic!() };
    let full = "CREATE TRIGGER full BEFORE UPDATE ON tidings_dedup BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    sqlx::raw_sql(full).execute(pool).await.unwrap();
    bench.publish("ada", 1).await;
    bench.seen.until(3).await;
    sqlx::raw_sql("DROP TRIGGER full").execute(pool).await.unwrap();
    bench.handled(1).await;
    assert_eq!(bench.sent(), 1);
    harness.stop().await.unwrap();
}
