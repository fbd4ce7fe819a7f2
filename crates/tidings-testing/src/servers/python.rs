//! A Python with packages from PyPI, in a virtual environment that only tests use.

use super::{find::find, skip};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A Python that has `packages`, each pinned (`aiosmtpd==1.4.6`).
///
/// The environment is made once, under the build's target folder, and kept. `None`, after saying why on standard error,
/// where there is no Python or the registry cannot be reached: the test is then skipped, or fails with
/// `REQUIRE_SERVERS=1`.
pub async fn python(packages: &'static [&'static str]) -> Option<PathBuf> {
    let made = tokio::task::spawn_blocking(move || environment(packages)).await;
    match made.map_err(|error| error.to_string()).and_then(|made| made) {
        Ok(python) => Some(python),
        Err(reason) => {
            skip(&reason);
            None
        }
    }
}

fn environment(packages: &[&str]) -> Result<PathBuf, String> {
    let system = find("python3").ok_or("python3 is not installed (install python3-venv, or run `cargo xtask test`)")?;
    let home = target_folder().join("python");
    let folder = home.join(packages.join("+"));
    let python = folder.join("bin/python");
    let io = |error: std::io::Error| format!("{} cannot be made: {error}", folder.display());
    fs::create_dir_all(&home).map_err(io)?;
    // Test binaries run at the same time; one makes the environment, the others wait for it.
    let lock = File::create(home.join("lock")).map_err(io)?;
    lock.lock().map_err(io)?;
    let complete = folder.join("complete");
    if !complete.exists() {
        let _ = fs::remove_dir_all(&folder);
        run(Command::new(system).args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages))?;
        File::create(complete).map_err(io)?;
    }
    Ok(python)
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{shown}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Where this test binary was built: Cargo marks the folder.
fn target_folder() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).map(Path::to_owned);
    target.unwrap_or_else(std::env::temp_dir)
}
