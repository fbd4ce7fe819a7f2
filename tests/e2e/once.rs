//! A handler with a transaction has its effect once, whenever its process is killed.
//!
//! The service under test is this program itself, run again as [`bookkeeper`].

use std::{env, process::Command, time::Duration};

use serde::{Deserialize, Serialize};
use tidings::{
    Event, Failure, Handler, Handlers, Publisher, Retry, Service, Tx,
    database::{Database, DatabaseOptions, Migrations},
};
use tidings_testing::servers::{Nats, Postgres, Process, eventually, folder};

use crate::support::{LATER, among_others};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "order.placed", key = "customer")]
struct Placed {
    customer: u32,
    number: u32,
}

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "order.booked", key = "number")]
struct Booked {
    number: u32,
}

const TABLES: Migrations = Migrations {
    component: "books",
    sqlite: &["CREATE TABLE bookings (number bigint NOT NULL); CREATE TABLE confirmations (number bigint NOT NULL)"],
    postgres: &["CREATE TABLE bookings (number bigint NOT NULL); CREATE TABLE confirmations (number bigint NOT NULL)"],
};

const BOOK: &str = "INSERT INTO bookings (number) VALUES ($1)";
const CONFIRM: &str = "INSERT INTO confirmations (number) VALUES ($1)";

/// The handlers, for one database: a booking and its event, and what follows from that.
macro_rules! handlers {
    ($db:ty, $pool:expr) => {{
        async fn book(order: Placed, mut tx: Tx<$db>) -> Result<(), Failure> {
            sqlx::query(BOOK).bind(i64::from(order.number)).execute(&mut *tx).await?;
            tx.publish(&Booked { number: order.number }).await?;
            Ok(())
        }
        async fn confirm(booked: Booked, mut tx: Tx<$db>) -> Result<(), Failure> {
            sqlx::query(CONFIRM).bind(i64::from(booked.number)).execute(&mut *tx).await?;
            Ok(())
        }
        // What a kill leaves behind is no reason to give an order up.
        let patient = || Retry::exponential(Duration::from_millis(10), Duration::from_millis(200)).attempts(100);
        Handlers::new().on(book.retry(patient())).on(confirm.retry(patient())).with_state($pool)
    }};
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the process that the others start and kill"]
async fn bookkeeper() {
    let (broker, database) = (env::var("BOOKS_BROKER").unwrap(), env::var("BOOKS_DATABASE").unwrap());
    let arguments = ["books", "--broker", &broker, "--database", &database];
    let service = Service::builder("books", "0").arguments(arguments).environment::<&str, &str>([]).init().unwrap();
    let database = service.database().await.unwrap();
    database.migrate(&TABLES).await.unwrap();
    let handlers: Handlers = match database {
        Database::Sqlite(pool) => handlers!(sqlx::Sqlite, pool),
        Database::Postgres(pool) => handlers!(sqlx::Postgres, pool),
        _ => unreachable!(),
    };
    service.handlers(handlers).run().await.unwrap();
}

fn start(broker: &str, database: &str) -> Process {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["once::bookkeeper", "--exact", "--ignored", "--nocapture"])
        .env("BOOKS_BROKER", broker)
        .env("BOOKS_DATABASE", database);
    Process::start("books", command)
}

async fn count(database: &Database, sql: &'static str) -> i64 {
    match database {
        Database::Sqlite(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        Database::Postgres(pool) => sqlx::query_scalar(sql).fetch_one(pool).await,
        _ => unreachable!(),
    }
    .unwrap()
}

const ORDERS: u32 = 400;
const KILLS: u32 = 10;

/// Two instances, of which one is killed at any moment, ten times; each order is booked once and confirmed once.
async fn each_order_is_booked_once(broker_url: &str, database_url: &str) {
    let mut instances = [start(broker_url, database_url), start(broker_url, database_url)];
    for instance in &mut instances {
        instance.wait_for_line("ready", LATER).await;
    }
    let database = Database::open(database_url, &DatabaseOptions::default(), |_| {}).await.unwrap();
    let publishing = Service::builder("shop", "0").arguments(["shop", "--broker", broker_url]).environment::<&str, &str>([]);
    let publisher: Publisher = publishing.init().unwrap().publisher().await.unwrap();

    for number in 0..ORDERS {
        publisher.publish(&Placed { customer: number % 7, number }).await.unwrap();
        if number % (ORDERS / KILLS) == ORDERS / KILLS - 1 {
            let victim = &mut instances[(number % 2) as usize];
            victim.kill();
            victim.restart();
        }
    }
    const CONFIRMED: &str = "SELECT count(DISTINCT number) FROM confirmations";
    eventually(LATER, async || count(&database, CONFIRMED).await == i64::from(ORDERS)).await;
    for sql in
        ["SELECT count(*) FROM bookings", "SELECT count(*) FROM confirmations", "SELECT count(DISTINCT number) FROM bookings"]
    {
        assert_eq!(count(&database, sql).await, i64::from(ORDERS), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite_an_effect_happens_once_whenever_its_process_is_killed() {
    let _turn = among_others().await;
    let folder = folder("books");
    let place = |name: &str| format!("sqlite:{}", folder.join(name).display());
    each_order_is_booked_once(&place("broker.db"), &place("books.db")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_and_jetstream_an_effect_happens_once_whenever_its_process_is_killed() {
    let _turn = among_others().await;
    let (Some(postgres), Some(nats)) = (Postgres::start().await, Nats::with_jetstream().await) else { return };
    each_order_is_booked_once(&nats.jetstream_url(), &postgres.database().await).await;
}
