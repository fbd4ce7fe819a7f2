//! The programs of the services, as cargo built them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::SystemTime;

/// The program of the package `name`, which is called alike.
pub(crate) fn program(name: &str) -> PathBuf {
    program_of(name, name)
}

/// The program `name` of a package of this workspace, built first when it is missing or older than its sources.
///
/// `cargo test --workspace` has built it already; `cargo test -p tidings-demo` may not have.
pub(crate) fn program_of(package: &str, name: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().unwrap().parent().unwrap();
    let program = folder.join(name);
    if !is_current(&program) {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "-p", package]).current_dir(env!("CARGO_MANIFEST_DIR"));
        if folder.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "cargo build -p {package}");
    }
    program
}

/// Cargo lists a program's sources in a file beside it.
fn is_current(program: &Path) -> bool {
    let Some(built) = modified(program) else { return false };
    let Ok(list) = fs::read_to_string(program.with_extension("d")) else { return false };
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    sources.split_whitespace().all(|source| modified(Path::new(source)).is_none_or(|changed| changed <= built))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|found| found.modified()).ok()
}
