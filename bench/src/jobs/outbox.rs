//! What an outbox row costs a transaction: with the relay stopped, which is asked for, and while it moves the rows.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Result, anyhow};
use tidings::{Handlers, Service, database::Database, outbox::Outbox, settings::Group};
use tokio::time::Instant;

use super::{
    Comparison, On, Variant, Window,
    sent::{Sent, rate},
    variant,
};

pub(super) fn all() -> Vec<Comparison> {
    let comparison = |name, about, ground, variants: Vec<Variant>| Comparison {
        name,
        about,
        unit: "commits/s",
        ground,
        current_thread: false,
        variants,
    };
    let about = "An insert and its event in one transaction, against the insert alone; synchronous commits, relay stopped where nothing else is said.";
    vec![
        comparison(
            "outbox row, Postgres, 1 connection",
            about,
            On::Postgres,
            vec![
                variant!("insert", |w| postgres(w, 1, Row::None)),
                variant!("insert and outbox" >= 0.8, |w| postgres(w, 1, Row::Stays)),
            ],
        ),
        comparison(
            "outbox row, Postgres, 8 connections",
            about,
            On::Postgres,
            vec![
                variant!("insert", |w| postgres(w, 8, Row::None)),
                variant!("insert and outbox" >= 0.8, |w| postgres(w, 8, Row::Stays)),
                variant!("with the relay running", |w| postgres(w, 8, Row::Moves)),
            ],
        ),
        comparison(
            "outbox row, Postgres, 32 connections",
            about,
            On::Postgres,
            vec![
                variant!("insert", |w| postgres(w, 32, Row::None)),
                variant!("insert and outbox" >= 0.65, |w| postgres(w, 32, Row::Stays)),
            ],
        ),
        comparison(
            "outbox row, SQLite, 1 connection",
            about,
            On::Nothing,
            vec![
                variant!("insert", |w| sqlite(w, Row::None)),
                variant!("insert and outbox" >= 0.8, |w| sqlite(w, Row::Stays)),
                variant!("with the relay running", |w| sqlite(w, Row::Moves)),
            ],
        ),
    ]
}

/// What becomes of an event's row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    None,
    Stays,
    Moves,
}

const TABLE: &str = "CREATE TABLE facts (id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO facts (id, name, email) VALUES ($1, $2, $3)";

/// A database with its outbox; the service that would relay never runs.
pub(super) async fn outbox(url: &str, connections: u32) -> Result<(Service, Database, Outbox)> {
    let failed = |error: tidings::Error| anyhow!("{error}");
    let service = service(url, connections)?;
    let database = service.database().await.map_err(failed)?;
    let outbox = service.outbox(&database).await.map_err(failed)?;
    Ok((service, database, outbox))
}

/// A service with that database and the memory broker.
pub(super) fn service(database: &str, connections: u32) -> Result<Service> {
    let connections = connections.to_string();
    let flags = ["--database", database, "--database-connections", &connections, "--broker", "memory:", "--log", "warn"];
    Service::builder("bench", "0")
        .without(Group::Grpc)
        .arguments(["bench"].into_iter().chain(flags))
        .environment::<&str, &str>([])
        .init()
        .map_err(|error| anyhow!("{error}"))
}

pub(super) fn event() -> Sent {
    Sent { number: 7, text: "x".repeat(90) }
}

macro_rules! commits {
    ($pool:expr, $begin:expr, $service:expr, $outbox:expr, $window:expr, $connections:expr, $row:expr) => {{
        let (pool, service, outbox, window) = ($pool, $service, $outbox, $window);
        sqlx::query(TABLE).execute(&pool).await?;
        let running = match $row {
            // To a broker that nobody is subscribed to.
            Row::Moves => Some(service.handlers(Handlers::new()).start().await.map_err(|error| anyhow!("{error}"))?),
            Row::None | Row::Stays => None,
        };
        let count = Arc::new(AtomicU64::new(0));
        let begun = Instant::now();
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..$connections {
            let (pool, outbox, count) = (pool.clone(), outbox.clone(), Arc::clone(&count));
            workers.spawn(async move {
                while begun.elapsed() < window.time {
                    let mut tx = $begin(&pool).await?;
                    let id = uuid::Uuid::now_v7().to_string();
                    sqlx::query(INSERT).bind(id).bind("Ada Lovelace").bind("ada@example.com").execute(&mut *tx).await?;
                    if $row != Row::None {
                        outbox.publish(&mut tx, &event()).await?;
                    }
                    tx.commit().await?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        let rate = rate(count.load(Ordering::Relaxed), begun);
        drop(running);
        Ok(rate)
    }};
}

async fn postgres(window: Window, connections: u32, row: Row) -> Result<f64> {
    let (service, database, outbox) = outbox(&window.place, connections).await?;
    let Database::Postgres(pool) = database else { return Err(anyhow!("not of Postgres")) };
    commits!(pool, sqlx::PgPool::begin, service, outbox, window, connections, row)
}

async fn sqlite(window: Window, row: Row) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    let (service, database, outbox) = outbox(&url, 1).await?;
    let Database::Sqlite(pool) = database else { return Err(anyhow!("not of SQLite")) };
    commits!(pool, tidings::database::begin_immediate, service, outbox, window, 1, row)
}
