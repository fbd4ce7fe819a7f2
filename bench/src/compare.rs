//! Rounds of processes, one for each variant, and the ratios within a round.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::jobs::{Comparison, Ground};

/// What a comparison found.
pub(crate) struct Outcome {
    pub(crate) comparison: Comparison,
    /// For each variant, its figure in each round.
    pub(crate) figures: Vec<Vec<f64>>,
    /// Why there are none, when there are none.
    pub(crate) skipped: Option<String>,
}

pub(crate) async fn all(comparisons: Vec<Comparison>, rounds: usize, seconds: u64) -> Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for comparison in comparisons {
        println!("{}", comparison.name);
        outcomes.push(one(comparison, rounds, seconds).await?);
    }
    Ok(outcomes)
}

async fn one(comparison: Comparison, rounds: usize, seconds: u64) -> Result<Outcome> {
    let mut figures = vec![Vec::new(); comparison.variants.len()];
    let absent = |comparison, figures| Outcome { comparison, figures, skipped: Some("its server is not installed".to_owned()) };
    let Some(mut ground) = Ground::prepare(comparison.ground, seconds).await? else { return Ok(absent(comparison, figures)) };
    for round in 0..rounds {
        for step in 0..comparison.variants.len() {
            // Whoever runs first in a round runs last in another.
            let at = (step + round) % comparison.variants.len();
            let Some(place) = ground.place().await? else { return Ok(absent(comparison, figures)) };
            let figure = run(&comparison, at, &place, seconds)?;
            println!("  round {} {:<24} {figure:>12.1} {}", round + 1, comparison.variants[at].name, comparison.unit);
            figures[at].push(figure);
        }
    }
    Ok(Outcome { comparison, figures, skipped: None })
}

fn run(comparison: &Comparison, at: usize, place: &str, seconds: u64) -> Result<f64> {
    let mut child = Command::new(std::env::current_exe()?);
    child.args(["--one", comparison.name, comparison.variants[at].name, "--place", place, "--seconds", &seconds.to_string()]);
    if comparison.current_thread {
        child.arg("--current-thread");
    }
    let output = child.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{} failed: {}", comparison.variants[at].name, String::from_utf8_lossy(&output.stderr));
    said.lines().last().and_then(|line| line.trim().parse().ok()).with_context(|| format!("no figure in {said:?}"))
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
