//! What the compiler says to the commonest mistakes, word for word: each file in `ui/` is a mistake, its `.stderr` the answer.
//!
//! `TRYBUILD=overwrite cargo test -p tidings --test ui` writes the answers anew; read them before you commit them.
#![allow(clippy::print_stderr, reason = "a test that is skipped says so")]

use std::process::Command;

/// Another compiler has other words around ours.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn the_compiler_names_the_mistake_at_the_users_line() {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = Command::new(rustc).arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    let version = String::from_utf8_lossy(&version);
    if version.starts_with(COMPILER) {
        let cases = trybuild::TestCases::new();
        cases.compile_fail("tests/ui/*.rs");
        // The answer lists the databases that are compiled in.
        if cfg!(all(feature = "postgres", feature = "sqlite")) {
            cases.compile_fail("tests/ui/outbox/*.rs");
        }
    } else {
        eprintln!("skipped: the messages are those of {COMPILER}x, this is {version}");
    }
}
