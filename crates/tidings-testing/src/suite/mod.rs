//! The conformance suite: what every broker has to do, over the bare [`Broker`](tidings_core::Broker) trait, and what the framework
//! makes of it.
//!
//! A broker's crate calls it from a test without libtest's harness, in its `Cargo.toml`
//!
//! ```toml
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//!
//! and in `tests/conformance.rs`:
//!
//! ```no_run
//! use std::{process::ExitCode, sync::Arc};
//! use tidings_testing::suite::{Engine, Site, run};
//! # async fn open(url: &str) -> Result<Arc<dyn tidings_core::Broker>, tidings_core::BrokerError> { unimplemented!() }
//!
//! fn main() -> ExitCode {
//!     let site = || async { Some(Site::in_folder(|folder| format!("files:{}", folder.display()))) };
//!     run(Engine::new("files", site, |url| async move { open(&url).await }).in_other_processes())
//! }
//! ```
//!
//! Each case is a test of its own name and runs alone by it; `stress::<case>` is the same case, 20 times at once, each on a
//! place of its own. What a broker's [`Capabilities`](tidings_core::Capabilities) say that it cannot do is reported as ignored,
//! with the reason, and so is everything where the server is not installed (`REQUIRE_SERVERS=1` makes that a failure). Cases that
//! kill or measure processes (`processes::…`), that kill servers (`servers::…`) and that break the link to one (`links::…`: a proxy
//! stands where its URL says host and port) run once. The million messages of `long::…` take minutes on some engines and run when
//! they are asked for: `--include-ignored`. A process's memory is measured on Linux; elsewhere such cases do not apply.
//!
//! A publish is never tried again. Messages that come again are counted, told on standard error, and fail the case where what was
//! in hand does not explain them. A crash without settlement is a process that was killed: this program runs itself again.
//!
//! A case is over the bare trait, or over the framework's loop: retries, dead letters, what is in hand, the drain. The first kind
//! builds nothing but `tidings-core`. The second needs the framework, so it is a feature of its own (`suite-service`) and another
//! test: `run_loop([engine])`, with the same engine; its tests are named by the engine first, as `files::letters::…`.
//!
//! What lives here: the cases, how they run, and what a broker's own tests may use of them ([`Reader`], [`subscribe`], …). What
//! does not: what only one engine has. That the suite would notice is shown by `tests/planted.rs`, with brokers that each do one thing wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod case;
mod cases;
mod engine;
mod flow;
mod ledger;
#[cfg(unix)]
mod linked;
#[cfg(feature = "suite-service")]
mod looped;
mod reader;
mod results;
mod runner;
mod victim;

pub use cases::on_a_bare_wire_the_body_alone_arrives;
pub use engine::{Engine, Server, Site};
pub use reader::{
    DEADLINE, Reader, as_set, bodies, body, keyed, message, numbered, numbers, publish, subscribe, subscribe_with, subscription,
    unique, within,
};
#[cfg(feature = "suite-service")]
pub use runner::run_loop;
pub use runner::{Verdict, run, verdicts};
