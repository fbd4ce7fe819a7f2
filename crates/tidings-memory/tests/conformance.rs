//! The cases that every broker passes, each on a broker of its own name.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::process::ExitCode;

use tidings_core::{Client, url};
use tidings_memory::Memory;
use tidings_testing::suite::{Engine, Site, run, unique};

fn main() -> ExitCode {
    let site = || async {
        let name = format!("memory:case-{}", unique());
        // A broker lives as long as somebody has it open.
        let held = Memory::open(&url::parse(&name).unwrap()).unwrap();
        Some(Site::new(name, held))
    };
    let client = || Client { service: "case".into(), instance: unique().to_string().into() };
    run(Engine::new("memory", site, move |url| async move { tidings_memory::open(&url::parse(&url)?, &client()).await }))
}
