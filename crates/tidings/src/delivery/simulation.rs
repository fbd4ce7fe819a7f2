//! What the simulations share: property tests of the pure state machines (`hand`, `policy`, `leases`, `settling`, and the relay's),
//! each in a module `simulation` beside its machine, which checks it after every step against a small model.
//!
//! 200 cases each, or as many as `PROPTEST_CASES` says; `cargo xtask soak` runs more. A failure is made as short as can be, and its
//! seed is written below `proptest-regressions/`, from where it is tried first ever after.

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError};

/// What a check comes to.
pub(crate) type Checked = Result<(), TestCaseError>;

/// How the properties are run.
pub(crate) fn config() -> Config {
    let asked = std::env::var("PROPTEST_CASES").ok().map(|cases| cases.parse().expect("PROPTEST_CASES is a number"));
    // Chosen for speed: unoptimised, ChaCha takes more time than all the machines.
    let rng_algorithm = RngAlgorithm::XorShift;
    Config { cases: asked.unwrap_or(200), max_shrink_iters: 20_000, rng_algorithm, ..Config::default() }
}
