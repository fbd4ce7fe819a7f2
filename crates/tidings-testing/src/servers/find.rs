//! Finds installed programs: on `PATH`, then where server packages put what is not on it.
//!
//! `xtask` reads this file too, so it stands on the standard library alone.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the program `name` is installed, if it is.
///
/// A variable of its name (`NATS_SERVER` for `nats-server`) says which one to take.
#[must_use]
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    if let Some(chosen) = env::var_os(name.replace('-', "_").to_uppercase()) {
        return Some(PathBuf::from(chosen)).filter(|file| is_program(file));
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"].map(PathBuf::from))
        .chain(postgres_folders())
        .map(|folder| folder.join(name))
        .find(|file| is_program(file))
}

/// Debian, Red Hat and Homebrew keep each major version of PostgreSQL in a folder of its own.
fn postgres_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = ["/usr/lib/postgresql", "/usr", "/opt/homebrew/opt"]
        .iter()
        .filter_map(|parent| fs::read_dir(parent).ok())
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|folder| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            folder.starts_with("/usr/lib/postgresql") || name.starts_with("pgsql-") || name.starts_with("postgresql")
        })
        .map(|folder| folder.join("bin"))
        .collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(major_version(folder)));
    folders
}

fn major_version(folder: &Path) -> u32 {
    let digits: String = folder.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_on_the_path_is_found() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }

    #[test]
    fn the_newest_postgres_comes_first() {
        assert!(major_version(Path::new("/usr/lib/postgresql/17/bin")) > major_version(Path::new("/usr/lib/postgresql/9/bin")));
    }
}
