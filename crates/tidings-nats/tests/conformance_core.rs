//! The cases that every broker passes, on `nats://`.

mod accounts;

use std::process::ExitCode;

use accounts::{Accounts, Private, open};
use tidings_testing::{
    servers::Nats,
    suite::{Engine, run},
};

static SERVER: Accounts = Accounts::new("nats", "");

fn main() -> ExitCode {
    let site = || SERVER.site(Nats::builder());
    let private = || Private::start(Nats::builder(), Nats::url);
    run(Engine::new("nats", site, open).with_server(private).in_other_processes().side_by_side(2))
}
