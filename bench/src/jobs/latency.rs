//! How long an event takes from its commit to its handler, in one process that does nothing else.

use std::{
    io::{Seek as _, Write as _},
    path::Path,
};

use anyhow::{Context as _, Result, anyhow};
use tidings::{Handlers, Service, State, database::Database, outbox::Outbox, service::Running, settings::Group};
use tokio::{
    sync::mpsc,
    time::{Duration, Instant, sleep},
};

use super::{Comparison, On, Window, outbox::event, sent::Sent, variant};

pub(super) fn all() -> Vec<Comparison> {
    vec![Comparison {
        name: "commit to handler, idle",
        about: "The slowest of a hundred, from the commit to the handler, in one process on SQLite and its broker, one event at a time; \
                at most 10 ms are asked for. The first one is a write of 4 KiB and its fsync in the same folder, of which the way has one.",
        unit: "ms (p99)",
        ground: On::Nothing,
        current_thread: false,
        variants: vec![variant!("fsync", fsync), variant!("service", service)],
    }]
}

/// Between two events, for the relay to be idle again.
const PAUSE: Duration = Duration::from_millis(10);

pub(super) fn p99(mut times: Vec<Duration>) -> Result<f64> {
    times.sort_unstable();
    let at = times.len().saturating_sub(1) * 99 / 100;
    Ok(times.get(at).context("nothing was measured")?.as_secs_f64() * 1000.0)
}

async fn fsync(window: Window) -> Result<f64> {
    let mut file = tempfile::tempfile()?;
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < window.time {
        sleep(PAUSE).await;
        let began = Instant::now();
        file.rewind()?;
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    p99(times)
}

async fn service(window: Window) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let (handled, mut handles) = mpsc::unbounded_channel();
    let (running, pool, outbox) = start(folder.path(), handled).await?;
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < window.time {
        sleep(PAUSE).await;
        let mut tx = tidings::database::begin_immediate(&pool).await?;
        outbox.publish(&mut tx, &event()).await?;
        tx.commit().await?;
        let committed = Instant::now();
        let handled: Instant = handles.recv().await.context("the handler is gone")?;
        times.push(handled.saturating_duration_since(committed));
    }
    let _ = running.stop().await;
    p99(times)
}

async fn handle(_: Sent, State(handled): State<mpsc::UnboundedSender<Instant>>) {
    // Nobody listens after the last.
    let _ = handled.send(Instant::now());
}

async fn start(folder: &Path, handled: mpsc::UnboundedSender<Instant>) -> Result<(Running, sqlx::SqlitePool, Outbox)> {
    let failed = |error: tidings::Error| anyhow!("{error}");
    let url = |file: &str| format!("sqlite:{}", folder.join(file).display());
    let service = Service::builder("bench", "0")
        .without(Group::Grpc)
        .arguments(["bench", "--database", &url("bench.db"), "--broker", &url("broker.db"), "--log", "warn"])
        .environment::<&str, &str>([])
        .init()
        .map_err(failed)?;
    let database = service.database().await.map_err(failed)?;
    let outbox = service.outbox(&database).await.map_err(failed)?;
    let Database::Sqlite(pool) = database else { return Err(anyhow!("not of SQLite")) };
    let handlers = Handlers::new().on(handle).with_state(handled);
    Ok((service.handlers(handlers).start().await.map_err(failed)?, pool, outbox))
}
