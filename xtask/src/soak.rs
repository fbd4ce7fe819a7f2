//! The simulations, for longer.

use crate::run::{cargo, run};
use anyhow::{Context as _, Result};

/// Runs every simulation with so many cases.
///
/// # Errors
/// When one fails; it has said its seed by then.
pub(crate) fn soak(cases: u32) -> Result<()> {
    let mut tests = cargo(&["test", "-p", "tidings", "--lib", "--all-features", "--no-fail-fast", "simulation::"]);
    run(tests.env("PROPTEST_CASES", cases.to_string())).context(
        "a simulation failed: its shortest course of events and its seed (`cc …`) stand above, and the seed is in crates/tidings/proptest-regressions now.
To see it again: cargo test -p tidings --lib --all-features simulation::, which tries the seeds there first.
Commit that file with what mends it",
    )
}
