//! The cases over the framework's loop, on each broker of ours: `cargo test -p tidings-testing --test loop jetstream::letters`.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

// The servers and accounts of the brokers' own conformance tests.
#[path = "../../../tidings-nats/tests/accounts/mod.rs"]
mod accounts;

use std::process::ExitCode;

use accounts::{Accounts, Private};
use tidings_core::{Client, url};
use tidings_memory::Memory;
use tidings_testing::{
    servers::Nats,
    suite::{Engine, Site, run_loop, unique},
};

static NATS: Accounts = Accounts::new("nats", "");
/// A stream reserves what it may grow to, and there are hundreds; many are made at once, and whoever publishes then waits for the disk.
static JETSTREAM: Accounts = Accounts::new("jetstream", "?max_bytes=24MiB&letters_max_bytes=8MiB&timeout=15s");

fn main() -> ExitCode {
    run_loop([memory(), sqlite(), nats(), jetstream()])
}

fn nats() -> Engine {
    let private = || Private::start(Nats::builder(), Nats::url);
    Engine::new("nats", || NATS.site(Nats::builder()), accounts::open).with_server(private).in_other_processes()
}

fn jetstream() -> Engine {
    let private = || Private::start(Nats::builder().jetstream(), Nats::jetstream_url);
    Engine::new("jetstream", || JETSTREAM.site(Nats::builder().jetstream()), accounts::open)
        .with_server(private)
        .in_other_processes()
}

fn client() -> Client {
    Client { service: "case".into(), instance: unique().to_string().into() }
}

fn memory() -> Engine {
    let site = || async {
        let name = format!("memory:case-{}", unique());
        // A broker lives as long as somebody has it open.
        let held = Memory::open(&url::parse(&name).unwrap()).unwrap();
        Some(Site::new(name, held))
    };
    Engine::new("memory", site, |url| async move { tidings_memory::open(&url::parse(&url)?, &client()).await })
}

fn sqlite() -> Engine {
    let site = || async { Some(Site::in_folder(|folder| format!("sqlite:{}/broker.db", folder.display()))) };
    Engine::new("sqlite", site, |url| async move { tidings_sql::open(&url::parse(&url)?, &client()).await }).in_other_processes()
}
