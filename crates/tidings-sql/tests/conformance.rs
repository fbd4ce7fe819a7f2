//! The cases that every broker passes, each on a file of its own.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::process::ExitCode;

use tidings_core::{Client, url};
use tidings_testing::suite::{Engine, Site, run, unique};

fn main() -> ExitCode {
    let site = || async { Some(Site::in_folder(|folder| format!("sqlite:{}/new/broker.db", folder.display()))) };
    let client = || Client { service: "case".into(), instance: unique().to_string().into() };
    let open = move |url: String| async move { tidings_sql::open(&url::parse(&url)?, &client()).await };
    run(Engine::new("sqlite", site, open).in_other_processes().side_by_side(2))
}
