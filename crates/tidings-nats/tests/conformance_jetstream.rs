//! The cases that every broker passes, on `jetstream://`.

mod accounts;

use std::process::ExitCode;

use accounts::{Accounts, Private, open};
use tidings_testing::{
    servers::Nats,
    suite::{Engine, run},
};

/// A stream reserves what it may grow to, and there are hundreds; many are made at once, and whoever publishes then waits for the disk.
static SERVER: Accounts = Accounts::new("jetstream", "?max_bytes=24MiB&letters_max_bytes=8MiB&timeout=15s");

fn main() -> ExitCode {
    let site = || SERVER.site(Nats::builder().jetstream());
    let private = || Private::start(Nats::builder().jetstream(), Nats::jetstream_url);
    run(Engine::new("jetstream", site, open).with_server(private).in_other_processes().side_by_side(6))
}
