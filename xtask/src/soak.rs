//! What takes too long for each change: the simulations with many more cases, and the brokers' memory over a million messages.

use crate::{
    needs,
    run::{cargo, run},
};
use anyhow::{Context as _, Result};
use std::process::Command;

/// Runs every simulation with so many cases, then the long cases of the conformance suite.
///
/// # Errors
/// When one fails; a simulation has said its seed by then.
pub(crate) fn soak(cases: u32) -> Result<()> {
    needs::install_what_is_missing()?;
    simulate(cases)?;
    run(&mut long_cases())
}

/// The cases of the suite that take minutes, on each broker.
pub(crate) fn long_cases() -> Command {
    let brokers = ["memory", "sql", "nats"].map(|broker| format!("--package=tidings-{broker}"));
    let mut long = cargo(&["test"]);
    long.args(brokers).args(["--", "--ignored", "long::"]).env("REQUIRE_SERVERS", "1");
    long
}

fn simulate(cases: u32) -> Result<()> {
    let mut tests = cargo(&["test", "-p", "tidings", "--lib", "--all-features", "--no-fail-fast", "simulation::"]);
    run(tests.env("PROPTEST_CASES", cases.to_string())).context(
        "a simulation failed: its shortest course of events and its seed (`cc …`) stand above, and the seed is in crates/tidings/proptest-regressions now.
To see it again: cargo test -p tidings --lib --all-features simulation::, which tries the seeds there first.
Commit that file with what mends it",
    )
}
