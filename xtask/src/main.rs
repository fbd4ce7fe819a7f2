//! The project's own tool: `cargo xtask test | soak | ci | bench | brokers-table`.
//!
//! What lives here: finding and installing what the tests need, and the order of the checks. What
//! does not: starting servers (each test starts its own, through `tidings-testing`) and anything
//! that a plain `cargo` command does alone.

#![allow(clippy::print_stdout, reason = "a command-line tool")]

mod brokers;
mod ci;
mod deny;
#[path = "../../crates/tidings-testing/src/servers/find.rs"]
mod find;
mod needs;
mod run;
mod soak;
mod suite;
mod table;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Runs the project's tests, checks and benchmarks.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Runs all tests against real servers, and installs those that are missing.
    ///
    /// Each test starts private instances of nats-server and PostgreSQL on free ports with
    /// temporary data, and ends them. What is missing is installed with apt-get on Debian and
    /// Ubuntu; elsewhere you are told what to install.
    Test {
        /// Handed to `cargo test`, such as `-p tidings-nats` in place of the whole workspace, or a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Runs what a change must pass: format, lints, documentation, dependencies, tests.
    Ci,
    /// Runs the simulations of the state machines with many more cases than `test` does.
    ///
    /// They are the same tests, on random courses of events. A failure is made as short as can be and printed
    /// with its seed, which is also written down and tried first from then on. After them a million messages go through each
    /// broker, whose memory must stay flat.
    Soak {
        /// How many cases of each.
        #[arg(long, default_value_t = 20_000)]
        cases: u32,
    },
    /// Runs the conformance suite on each broker, and writes what it says into docs/brokers.md.
    ///
    /// The cases that take minutes are run as well, which `test` leaves out. `test` fails when the table there is not what the
    /// suite says of the others. Figures that vary stand in classes, of which the worst that was seen stays; to begin anew,
    /// take the table's lines away.
    BrokersTable,
    /// Runs the benchmarks against real servers, and writes `docs/benchmarks.md`.
    Bench {
        /// Handed to the benchmarks instead, which then write what they are told to; `--help` tells.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Test { arguments } => suite::test(&arguments),
        Task::Ci => ci::run_all(),
        Task::Soak { cases } => soak::soak(cases),
        Task::BrokersTable => brokers::write(),
        Task::Bench { arguments } => suite::bench(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
