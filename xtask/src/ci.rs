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
    let steps: [(&str, Step); 5] = [
        ("format", || run(&mut cargo(&["fmt", "--all", "--check"]))),
        ("dependencies", deny::check),
        ("lints", || run(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))),
        ("documentation", || run(cargo(&["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings"))),
        ("tests", || suite::test(&[])),
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
