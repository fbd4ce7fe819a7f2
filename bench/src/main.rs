//! What Tidings costs over the raw clients.
//!
//! Each comparison has variants that do the same job: the raw client first, then ours. Each variant runs in a process of its own, for
//! several seconds, in rounds whose order rotates; the figure is the median of the ratios to the raw client within a round, so that
//! a slow minute of the machine slows both. `cargo xtask bench` runs it and writes `docs/benchmarks.md`.

#![allow(clippy::print_stdout, reason = "a program for people")]

mod compare;
mod cost;
mod jobs;
mod report;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

/// Measures what Tidings costs over the raw clients, on private servers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only comparisons whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds that a variant runs in each round
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where the report goes; by default it is printed alone
    #[arg(long)]
    write: Option<PathBuf>,
    /// The program of `bench/peers`, which does the jobs with RustStream; without it RustStream is left out
    #[arg(long, value_name = "PROGRAM")]
    peers: Option<PathBuf>,
    /// Only what a message costs on the memory broker, in instructions and allocations, compared with this file
    #[arg(long, value_name = "FILE")]
    cost: Option<PathBuf>,
    /// Writes the file of `--cost` instead
    #[arg(long, requires = "cost")]
    keep: bool,
    /// One run of that, in this process
    #[arg(long, hide = true, num_args = 2, value_names = ["WAY", "MESSAGES"])]
    cost_of: Option<Vec<String>>,
    /// One variant, in this process: what the rounds start
    #[arg(long, hide = true, num_args = 2, value_names = ["COMPARISON", "VARIANT"])]
    one: Option<Vec<String>>,
    /// The server or folder that the variant works on
    #[arg(long, hide = true, default_value = "")]
    place: String,
    /// Run on tokio's current-thread runtime instead of two workers
    #[arg(long, hide = true)]
    current_thread: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some([way, messages]) = arguments.cost_of.as_deref().and_then(|of| of.first_chunk::<2>()) {
        return cost::of(way, messages.parse()?);
    }
    if let Some(kept) = &arguments.cost {
        return cost::check(kept, arguments.keep);
    }
    let mut runtime = if arguments.current_thread {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime.enable_all().build()?;
    if let Some([comparison, variant]) = arguments.one.as_deref().and_then(|one| one.first_chunk::<2>()) {
        let comparison = jobs::all().into_iter().find(|one| one.name == comparison).context("no such comparison")?;
        let variant = comparison.variants.into_iter().find(|one| one.name == variant).context("no such variant")?;
        let window = jobs::Window { time: Duration::from_secs(arguments.seconds), place: arguments.place };
        let jobs::Run::Here(run) = variant.run else { bail!("another program does that variant") };
        println!("{}", runtime.block_on(run(window))?);
        return Ok(());
    }
    let chosen = jobs::all().into_iter().filter(|one| one.name.contains(&arguments.only)).collect();
    let peers = arguments.peers.as_deref().map(compare::Peers::new).transpose()?;
    let results = runtime.block_on(compare::all(chosen, peers.as_ref(), arguments.rounds, arguments.seconds))?;
    let report = report::markdown(&results, peers.as_ref(), arguments.rounds, arguments.seconds);
    match arguments.write {
        Some(path) => std::fs::write(&path, report).with_context(|| path.display().to_string()),
        None => {
            println!("\n{report}");
            Ok(())
        }
    }
}
