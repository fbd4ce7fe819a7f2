//! Private real servers for tests, and the means to run a program under test.
//!
//! What lives here: starting, killing and restarting real processes on free ports with data of
//! their own, a proxy that breaks what is between them, and waiting for what they do. What does
//! not: anything that knows the framework (`TestService` does), and any pretence of a server.
//!
//! A server that is not installed skips the test, which says so on standard error; with
//! `REQUIRE_SERVERS=1`, as `cargo xtask test` sets it, the test fails instead:
//!
//! ```no_run
//! # async fn test() {
//! use tidings_testing::servers::Nats;
//!
//! let Some(nats) = Nats::start().await else { return };
//! let url = nats.url();
//! # }
//! ```
//!
//! Everything here panics when it fails: its callers are tests. Whatever a test process started
//! ends with it, however it ends, and its data goes too. A test that panics prints the end of what
//! each of its servers logged; of one that returns an error nobody here hears.
//!
//! Another kind of server is one file more: a type around `server::Server`, which ends it and brings
//! it back, with what it is configured by, its URL, and how it shows that it answers.

mod credentials;
mod find;
mod nats;
mod nats_cluster;
mod ports;
mod postgres;
mod process;
mod proxy;
mod python;
mod scratch;
mod server;
mod shared;
mod smtp;
mod tls;
mod wait;

pub use nats::{Nats, NatsBuilder};
pub use nats_cluster::NatsCluster;
pub use ports::free_port;
pub use postgres::Postgres;
pub use process::Process;
pub use proxy::Proxy;
pub use python::python;
pub use scratch::folder;
pub use shared::Shared;
pub use smtp::{ReceivedMail, Smtp, SmtpBuilder};
pub use wait::{Probe, eventually};

use find::find;
use std::io::Write as _;
use std::path::PathBuf;

/// The program `name`, or `None` after saying that the test is skipped.
///
/// `package` tells what to install. With `REQUIRE_SERVERS=1` an absent program fails the test.
pub fn require(name: &str, package: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(&format!("{name} is not installed (install {package}, or run `cargo xtask test`)"));
    }
    found
}

/// Says why a test is skipped; with `REQUIRE_SERVERS=1` fails it.
fn skip(reason: &str) {
    assert!(std::env::var_os("REQUIRE_SERVERS").is_none_or(|value| value != "1"), "{reason}");
    // Straight to the stream: what goes through `eprintln!` is kept from who reads a passing test.
    let _ = writeln!(std::io::stderr(), "skipped: {reason}");
}
