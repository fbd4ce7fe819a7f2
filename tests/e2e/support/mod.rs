//! What the scenarios share: running the real programs, calling them, reading their mails.

mod ground;
mod mails;
mod programs;
mod raw_nats;
mod turns;
mod users;

pub(crate) use ground::{Ground, Running};
pub(crate) use mails::Mails;
pub(crate) use programs::{program, program_of};
pub(crate) use raw_nats::{RawMessage, RawNats};
pub(crate) use turns::{alone, among_others};
pub(crate) use users::{Client, client, create_all, user};

use std::time::Duration;

/// For what takes no time to speak of, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// For what takes its time: a thousand users, a restart of everything.
pub(crate) const LATER: Duration = Duration::from_secs(180);
