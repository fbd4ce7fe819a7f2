//! RustStream doing the jobs of the benchmarks: what `bench --peers` starts, one process a variant and round.
//!
//! It lives in a workspace of its own, so that RustStream and what it brings are no dependency of Tidings.

#![allow(clippy::print_stdout, reason = "its output is the figure")]

mod core;
mod jetstream;
mod memory;
mod sent;

use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;

/// One job of the benchmarks, done with RustStream; the last line of its output is the messages a second.
#[derive(Debug, Parser)]
struct Arguments {
    /// The comparison whose job it does, and the way of doing it
    #[arg(long, num_args = 1..=2, value_names = ["COMPARISON", "VARIANT"], required_unless_present = "versions")]
    one: Vec<String>,
    /// The server, or the stream, that it works on
    #[arg(long, default_value = "")]
    place: String,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Run on tokio's current-thread runtime instead of two workers
    #[arg(long)]
    current_thread: bool,
    /// What is measured
    #[arg(long)]
    versions: bool,
}

/// How long a job runs, and on what.
#[derive(Debug)]
struct Window {
    time: Duration,
    place: String,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.versions {
        println!("{}", versions());
        return Ok(());
    }
    let mut names = arguments.one.iter().map(String::as_str);
    let (job, way) = (names.next().unwrap_or_default(), names.next().unwrap_or("RustStream"));
    let mut runtime = if arguments.current_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let window = Window { time: Duration::from_secs(arguments.seconds), place: arguments.place };
    println!("{}", runtime.enable_all().build()?.block_on(run(job, way, window))?);
    Ok(())
}

async fn run(job: &str, way: &str, window: Window) -> Result<f64> {
    if (job, way) == ("jetstream consume, bare", "RustStream, batches") {
        return jetstream::consume_batches(window).await;
    }
    match job {
        _ if way != "RustStream" => bail!("RustStream has no way {way:?}"),
        "memory" | "memory, current-thread" => memory::job(window).await,
        "nats publish, bare, 128 B" => core::publish(window, 128).await,
        "nats publish to handler, bare, 128 B" => core::way(window, 128).await,
        "nats publish to handler, bare, 1 KiB" => core::way(window, 1024).await,
        "jetstream publish, bare" => jetstream::publish(window).await,
        "jetstream consume, bare" => jetstream::consume(window).await,
        other => bail!("RustStream has no job {other:?}"),
    }
}

/// What the lock file says of the crates that are measured.
fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    ["ruststream", "ruststream-nats", "async-nats"].into_iter().filter_map(version).collect::<Vec<_>>().join(", ")
}
