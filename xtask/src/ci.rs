//! What a change must pass, cheapest first; the first failure ends it.

use crate::run::{cargo, run};
use crate::{deny, suite};
use anyhow::{Context as _, Result};
use std::time::Instant;

type Step = fn() -> Result<()>;

/// Runs all checks and says how long each took.
///
/// # Errors
/// The first check that fails.
pub(crate) fn run_all() -> Result<()> {
    let steps: [(&str, Step); 7] = [
        ("format", || run(&mut cargo(&["fmt", "--all", "--check"]))),
        ("dependencies", deny::check),
        ("lints", || run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))),
        ("lints of small builds", lint_small_builds),
        ("documentation", || run(cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))),
        ("tests", || suite::test(&[])),
        ("cost of a message", suite::cost),
    ];
    let mut times = Vec::new();
    for (name, step) in steps {
        println!("\n== {name}");
        let begin = Instant::now();
        step().with_context(|| format!("{name} failed"))?;
        times.push(format!("{name} {} s", begin.elapsed().as_secs()));
    }
    println!("\nall checks passed: {}", times.join(", "));
    Ok(())
}

/// A program with one broker or database compiles no other: what the whole workspace's features hide shows here.
fn lint_small_builds() -> Result<()> {
    for features in ["memory", "nats", "sqlite", "postgres"] {
        run(&mut cargo(&["clippy", "-p", "tidings", "--no-default-features", "--features", features, "--", "-D", "warnings"]))?;
    }
    Ok(())
}
