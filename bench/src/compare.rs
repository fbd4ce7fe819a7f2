//! Rounds of processes, one for each variant, and the ratios within a round.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::jobs::{Comparison, Ground, Run};

/// What a comparison found.
pub(crate) struct Outcome {
    pub(crate) comparison: Comparison,
    /// For each variant, its figure in each round.
    pub(crate) figures: Vec<Vec<f64>>,
    /// Why there are none, when there are none.
    pub(crate) skipped: Option<String>,
}

/// The program that does the rival's variants.
pub(crate) struct Peers<'a> {
    pub(crate) program: &'a Path,
    /// What it says of its versions.
    pub(crate) versions: String,
}

impl<'a> Peers<'a> {
    pub(crate) fn new(program: &'a Path) -> Result<Self> {
        let output = Command::new(program).arg("--versions").output().with_context(|| program.display().to_string())?;
        let versions = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        ensure!(output.status.success() && !versions.is_empty(), "{} does not tell its versions", program.display());
        Ok(Self { program, versions })
    }
}

pub(crate) async fn all(
    mut comparisons: Vec<Comparison>,
    peers: Option<&Peers<'_>>,
    rounds: usize,
    seconds: u64,
) -> Result<Vec<Outcome>> {
    if peers.is_none() {
        println!("without RustStream: `cargo xtask bench` builds bench/peers and passes it as --peers");
        for comparison in &mut comparisons {
            comparison.variants.retain(|variant| !matches!(variant.run, Run::Peers));
        }
    }
    let mut outcomes = Vec::new();
    for comparison in comparisons {
        println!("{}", comparison.name);
        outcomes.push(one(comparison, peers, rounds, seconds).await?);
    }
    Ok(outcomes)
}

async fn one(comparison: Comparison, peers: Option<&Peers<'_>>, rounds: usize, seconds: u64) -> Result<Outcome> {
    let mut figures = vec![Vec::new(); comparison.variants.len()];
    let absent = |comparison, figures| Outcome { comparison, figures, skipped: Some("its server is not installed".to_owned()) };
    let Some(mut ground) = Ground::prepare(comparison.ground, seconds).await? else { return Ok(absent(comparison, figures)) };
    for round in 0..rounds {
        for step in 0..comparison.variants.len() {
            // Whoever runs first in a round runs last in another.
            let at = (step + round) % comparison.variants.len();
            let Some(place) = ground.place().await? else { return Ok(absent(comparison, figures)) };
            let figure = run(&comparison, at, peers, &place, seconds)?;
            println!("  round {} {:<24} {figure:>12.1} {}", round + 1, comparison.variants[at].name, comparison.unit);
            figures[at].push(figure);
        }
    }
    Ok(Outcome { comparison, figures, skipped: None })
}

fn run(comparison: &Comparison, at: usize, peers: Option<&Peers<'_>>, place: &str, seconds: u64) -> Result<f64> {
    let variant = &comparison.variants[at];
    let mut child = match variant.run {
        Run::Here(_) => Command::new(std::env::current_exe()?),
        Run::Peers => Command::new(peers.context("there is no --peers")?.program),
    };
    child.args(["--one", comparison.name, variant.name, "--place", place, "--seconds", &seconds.to_string()]);
    if comparison.current_thread {
        child.arg("--current-thread");
    }
    let output = child.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{} failed: {}", variant.name, String::from_utf8_lossy(&output.stderr));
    said.lines().last().and_then(|line| line.trim().parse().ok()).with_context(|| format!("no figure in {said:?}"))
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
