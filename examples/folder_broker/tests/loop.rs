//! The cases over the framework's own loop, each on a folder of its own.

use std::process::ExitCode;

use tidings_core::{Client, url};
use tidings_testing::suite::{Engine, Site, run_loop};

fn main() -> ExitCode {
    let site = || async { Some(Site::in_folder(|folder| format!("folder:{}", folder.display()))) };
    let client = || Client { service: "case".into(), instance: "1".into() };
    let open = move |url: String| async move { tidings_folder::open(&url::parse(&url)?, &client()).await };
    run_loop([Engine::new("folder", site, open).in_other_processes()])
}
