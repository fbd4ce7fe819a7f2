//! What an outbox row costs a transaction, with the relay stopped.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use anyhow::{Result, anyhow};
use tidings::{Service, database::Database, outbox::Outbox, settings::Group};
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
    let about = "An insert and its event in one transaction, against the insert alone; synchronous commits, relay stopped.";
    vec![
        comparison(
            "outbox row, Postgres, 1 connection",
            about,
            On::Postgres,
            vec![variant!("insert", |w| postgres(w, 1, false)), variant!("insert and outbox" >= 0.8, |w| postgres(w, 1, true))],
        ),
        comparison(
            "outbox row, Postgres, 8 connections",
            about,
            On::Postgres,
            vec![variant!("insert", |w| postgres(w, 8, false)), variant!("insert and outbox" >= 0.8, |w| postgres(w, 8, true))],
        ),
        comparison(
            "outbox row, Postgres, 32 connections",
            about,
            On::Postgres,
            vec![
                variant!("insert", |w| postgres(w, 32, false)),
                variant!("insert and outbox" >= 0.65, |w| postgres(w, 32, true)),
            ],
        ),
        comparison(
            "outbox row, SQLite, 1 connection",
            about,
            On::Nothing,
            vec![variant!("insert", |w| sqlite(w, false)), variant!("insert and outbox" >= 0.8, |w| sqlite(w, true))],
        ),
    ]
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
    ($pool:expr, $begin:expr, $outbox:expr, $window:expr, $connections:expr, $publish:expr) => {{
        let (pool, outbox, window) = ($pool, $outbox, $window);
        sqlx::query(TABLE).execute(&pool).await?;
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
                    if $publish {
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
        Ok(rate(count.load(Ordering::Relaxed), begun))
    }};
}

async fn postgres(window: Window, connections: u32, publish: bool) -> Result<f64> {
    let (_service, database, outbox) = outbox(&window.place, connections).await?;
    let Database::Postgres(pool) = database else { return Err(anyhow!("not of Postgres")) };
    commits!(pool, sqlx::PgPool::begin, outbox, window, connections, publish)
}

async fn sqlite(window: Window, publish: bool) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite:{}", folder.path().join("bench.db").display());
    let (_service, database, outbox) = outbox(&url, 1).await?;
    let Database::Sqlite(pool) = database else { return Err(anyhow!("not of SQLite")) };
    commits!(pool, tidings::database::begin_immediate, outbox, window, 1, publish)
}
