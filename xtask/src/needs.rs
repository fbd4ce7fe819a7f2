//! What the tests need beside Rust: found, or installed after saying so.

use crate::find::find;
use crate::run::{asked, command, run};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

struct Need {
    what: &'static str,
    found: fn() -> bool,
    /// Its package on Debian.
    debian: &'static str,
    /// Its package for each of [`OTHERS`].
    others: [&'static str; OTHERS.len()],
    /// Its service on Debian, which no test needs.
    service: Option<&'static str>,
}

/// How other systems install packages: the program that is asked, and the command up to the packages.
const OTHERS: [(&str, &str); 5] = [
    ("dnf", "sudo dnf install"),
    ("pacman", "sudo pacman -S"),
    ("zypper", "sudo zypper install"),
    ("apk", "sudo apk add"),
    ("brew", "brew install"),
];

const NEEDS: [Need; 3] = [
    Need {
        what: "nats-server",
        found: || find("nats-server").is_some(),
        debian: "nats-server",
        others: ["nats-server"; OTHERS.len()],
        service: Some("nats-server"),
    },
    Need {
        what: "PostgreSQL",
        found: || find("initdb").is_some(),
        debian: "postgresql",
        others: ["postgresql-server", "postgresql", "postgresql-server", "postgresql", "postgresql@17"],
        service: Some("postgresql"),
    },
    Need {
        what: "Python with venv",
        found: || find("python3").is_some_and(|python| asked(&mut command(python, &["-c", "import venv, ensurepip"])).is_some()),
        debian: "python3-venv",
        others: ["python3", "python", "python3", "python3", "python"],
        service: None,
    },
];

/// What counts instructions; there is none for macOS.
const VALGRIND: Need = Need {
    what: "valgrind",
    found: || find("valgrind").is_some(),
    debian: "valgrind",
    others: ["valgrind"; OTHERS.len()],
    service: None,
};

/// Sees to it that all that the tests need is there.
///
/// # Errors
/// When something is missing that cannot be installed; the message says what to run.
pub(crate) fn install_what_is_missing() -> Result<()> {
    install(&NEEDS)
}

/// Sees to it that valgrind is there.
///
/// # Errors
/// As [`install_what_is_missing`].
pub(crate) fn install_valgrind() -> Result<()> {
    install(&[VALGRIND])
}

fn install(needs: &[Need]) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.found)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
    if find("apt-get").is_none() {
        bail!("missing: {names}; {}", elsewhere(&missing, |program| find(program).is_some()));
    }
    println!("missing: {names}; installing with apt-get");
    install_on_debian(&missing).with_context(|| {
        let packages = missing.iter().map(|need| need.debian).collect::<Vec<_>>().join(" ");
        format!("missing: {names}; run `sudo apt-get install {packages}` and try again")
    })?;
    match missing.iter().find(|need| !(need.found)()) {
        Some(need) => bail!("{} is still not found after its package `{}` was installed", need.what, need.debian),
        None => Ok(()),
    }
}

/// What to run on a system that is not Debian's.
fn elsewhere(missing: &[&Need], is_there: impl Fn(&str) -> bool) -> String {
    match OTHERS.iter().position(|(program, _)| is_there(program)) {
        Some(system) => {
            let packages = missing.iter().map(|need| need.others[system]).collect::<Vec<_>>().join(" ");
            // Not every version of every system has nats-server.
            format!("run `{} {packages}`, put on PATH what it does not know, and try again", OTHERS[system].1)
        }
        None => "install it, put it on PATH, and try again".to_owned(),
    }
}

fn install_on_debian(missing: &[&Need]) -> Result<()> {
    let no_start = NoStart::set()?;
    run(&mut as_root(&["apt-get", "-qq", "update"]))?;
    let mut install = as_root(&["apt-get", "-qq", "-y", "--no-install-recommends", "install"]);
    run(install.args(missing.iter().map(|need| need.debian)))?;
    drop(no_start);
    if Path::new("/run/systemd/system").exists() {
        for service in missing.iter().filter_map(|need| need.service) {
            run(&mut as_root(&["systemctl", "--quiet", "disable", service]))?;
        }
    }
    Ok(())
}

/// While this lives, the packages that are installed start no service.
struct NoStart {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoStart {
    fn set() -> Result<Self> {
        // A machine that has a policy of its own, such as a container, keeps it.
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o755))?;
        run(as_root(&["cp"]).arg(file.path()).arg(POLICY))?;
        Ok(Self { ours: true })
    }
}

impl Drop for NoStart {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = run(&mut as_root(&["rm", "-f", POLICY]))
        {
            println!("remove {POLICY} by hand, it keeps services from starting: {error}");
        }
    }
}

fn as_root(words: &[&str]) -> Command {
    let root = asked(&mut command("id", &["-u"])).is_some_and(|id| id == "0");
    // `env`, for sudo passes no environment on.
    let prefix: &[&str] = if root { &["env"] } else { &["sudo", "env"] };
    let mut command = command(prefix[0], &prefix[1..]);
    command.arg("DEBIAN_FRONTEND=noninteractive").args(words);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_is_told_its_own_command() {
        let missing: Vec<&Need> = NEEDS.iter().collect();
        let told = |there: &str| elsewhere(&missing, |program| program == there);
        assert!(told("dnf").starts_with("run `sudo dnf install nats-server postgresql-server python3`"));
        assert!(told("brew").starts_with("run `brew install nats-server postgresql@17 python`"));
        assert!(told("emerge").starts_with("install it"));
    }
}
