//! How long a user's test waits for its service.

use anyhow::{Result, anyhow};
use sqlx::Sqlite;
use sqlx::sqlite::SqlitePoolOptions;
use tidings::{Handlers, Tx, handlers::Complete};
use tidings_testing::TestService;
use tokio::time::Instant;

use super::{Comparison, On, Window, latency::p99, sent::Sent, variant};

pub(super) fn all() -> Vec<Comparison> {
    vec![Comparison {
        name: "start of a TestService",
        about: "The slowest of a hundred, from `TestService::start` to a service whose handler gets what is published; at most 5 ms are asked for. \
                With `Tx` the inbox and the outbox are made in a new database in memory.",
        unit: "ms (p99)",
        ground: On::Nothing,
        current_thread: true,
        variants: vec![variant!("a handler", plain), variant!("a handler with `Tx`", with_tx)],
    }]
}

async fn plain(window: Window) -> Result<f64> {
    async fn handle(_: Sent) {}
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < window.time {
        times.push(start(Handlers::new().on(handle)).await?);
    }
    p99(times)
}

async fn with_tx(window: Window) -> Result<f64> {
    async fn handle(_: Sent, _: Tx<Sqlite>) {}
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < window.time {
        let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
        times.push(start(Handlers::new().on(handle).with_state(pool)).await?);
    }
    p99(times)
}

async fn start(handlers: impl Complete) -> Result<std::time::Duration> {
    let began = Instant::now();
    let service = TestService::start(handlers).await.map_err(|error| anyhow!("{error}"))?;
    let started = began.elapsed();
    drop(service);
    Ok(started)
}
