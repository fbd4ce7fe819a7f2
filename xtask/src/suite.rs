//! The tests and the benchmarks, over real servers.

use crate::run::{cargo, root, run, shown};
use crate::{brokers, needs};
use anyhow::{Context as _, Result, bail};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

/// Runs all tests, or those that `arguments` choose, and prints how many there were.
///
/// # Errors
/// When something that they need is missing, or one fails.
pub(crate) fn test(arguments: &[String]) -> Result<()> {
    needs::install_what_is_missing()?;
    let whole = !arguments.iter().any(|word| word == "-p" || word.starts_with("--package"));
    let workspace: &[&str] = if whole { &["--workspace"] } else { &[] };
    if whole {
        // The end-to-end tests run the programs, which `cargo test` alone builds only beside tests of their own.
        run(cargo(&["build", "--all-targets"]).args(workspace))?;
        brokers::forget()?;
    }
    let begin = Instant::now();
    let mut tests = cargo(&["test", "--no-fail-fast"]);
    tests.args(workspace).args(arguments).env("REQUIRE_SERVERS", "1").stdout(Stdio::piped());
    // Part of the cases would be no table.
    let table = whole && arguments.is_empty();
    if table {
        tests.env(brokers::VARIABLE, brokers::folder());
    }
    println!("$ {}", shown(&tests));
    let mut child = tests.spawn().context("cargo does not start")?;
    let mut count = Count::default();
    for line in BufReader::new(child.stdout.take().context("cargo's output")?).lines() {
        let line = line?;
        println!("{line}");
        count.add(&line);
    }
    let status = child.wait()?;
    println!(
        "\nall tests, {} s:\n{} passed, {} failed, {} skipped",
        begin.elapsed().as_secs(),
        count.passed,
        count.failed,
        count.ignored
    );
    if !status.success() {
        bail!("the tests failed ({status})");
    }
    if table { brokers::compare() } else { Ok(()) }
}

/// Runs the benchmarks with `arguments`, beside the rival; without any it writes their page.
///
/// # Errors
/// When something that they need is missing, or they fail.
pub(crate) fn bench(arguments: &[String]) -> Result<()> {
    needs::install_what_is_missing()?;
    let mut bench = cargo(&["run", "--release", "-p", "bench", "--"]);
    bench.args(arguments).env("REQUIRE_SERVERS", "1");
    if arguments.is_empty() {
        bench.args(["--write", "docs/benchmarks.md"]);
    }
    if !arguments.iter().any(|argument| argument == "--cost") {
        bench.arg("--peers").arg(peers()?);
    }
    run(&mut bench)
}

/// Builds the program that does the jobs with RustStream.
fn peers() -> Result<PathBuf> {
    // Its own target folder, also when CARGO_TARGET_DIR names one for the rest: the path is known then.
    run(&mut cargo(&[
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "bench/peers/Cargo.toml",
        "--target-dir",
        "bench/peers/target",
    ]))?;
    Ok(root().join("bench/peers/target/release").join(format!("peers{}", std::env::consts::EXE_SUFFIX)))
}

/// What a message costs on the memory broker, against the figures that are kept.
///
/// # Errors
/// When valgrind is missing on Linux, or a figure is worse than the one that is kept.
pub(crate) fn cost() -> Result<()> {
    if !cfg!(target_os = "linux") {
        println!("skipped: instructions are counted with valgrind, on Linux");
        return Ok(());
    }
    needs::install_valgrind()?;
    run(&mut cargo(&["run", "--release", "--quiet", "-p", "bench", "--", "--cost", "bench/cost.json"]))
}

#[derive(Debug, Default, PartialEq)]
struct Count {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Count {
    /// Adds what a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; …` tells.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let mut words = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).peekable();
        while let Some(word) = words.next() {
            let Ok(number) = word.parse::<u64>() else { continue };
            match words.peek() {
                Some(&"passed") => self.passed += number,
                Some(&"failed") => self.failed += number,
                Some(&"ignored") => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_all_binaries_are_added() {
        let mut count = Count::default();
        count.add("test result: ok. 14 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 1.61s");
        count.add("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s");
        count.add("running 9 tests");
        assert_eq!(count, Count { passed: 16, failed: 3, ignored: 1 });
    }
}
