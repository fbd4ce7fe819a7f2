//! What a service takes that nobody calls: the time until it is ready, and memory.

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use tidings::service::Running;
use tokio::time::{Instant, sleep};

use super::{Comparison, On, Window, variant};

pub(super) fn all() -> Vec<Comparison> {
    let comparison = |name, about, unit, variant| Comparison {
        name,
        about,
        unit,
        ground: On::Nothing,
        current_thread: false,
        variants: vec![variant],
    };
    vec![
        comparison(
            "users, ready",
            "From nothing, with new files for its database and the `sqlite:` broker, to a service that answers; at most 200 ms are asked for.",
            "ms",
            variant!("users", ready),
        ),
        comparison(
            "users, resident",
            "The memory of its process when nobody calls, this program's own in it; at most 25 MiB are asked for.",
            "MiB",
            variant!("users", resident),
        ),
    ]
}

async fn start(folder: &tempfile::TempDir) -> Result<Running> {
    let failed = |error: tidings::Error| anyhow!("{error}");
    let data = folder.path().display().to_string();
    let arguments = ["users", "--data", &data, "--address", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--log", "warn"];
    let service = users::builder().arguments(arguments).environment::<&str, &str>([]).init().map_err(failed)?;
    users::assemble(service).await.map_err(failed)?.start().await.map_err(failed)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
async fn ready(_: Window) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let begun = Instant::now();
    let running = start(&folder).await?;
    let ready = begun.elapsed();
    let _ = running.stop().await;
    Ok(ready.as_micros() as f64 / 1000.0)
}

async fn resident(window: Window) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let running = start(&folder).await?;
    sleep(window.time.min(Duration::from_secs(2))).await;
    let told = Command::new("ps").args(["-o", "rss=", "-p", &std::process::id().to_string()]).output().context("ps")?;
    let _ = running.stop().await;
    let kib: f64 = String::from_utf8_lossy(&told.stdout).trim().parse().context("what ps says")?;
    Ok(kib / 1024.0)
}
