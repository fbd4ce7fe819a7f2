//! The temporary folder of this test process, and the guard that outlives it.
//!
//! Rust runs no destructor for a static, nor for anything when the process is killed. So one shell
//! waits on a pipe from this process; when that closes, by whatever end, it kills the children
//! whose ids stand in `pids/` and removes the folder. What else a child leaves behind, the command
//! in the file of its id clears up.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

const GUARD: &str = r#"
cat >/dev/null
for file in "$1"/pids/*; do
    if [ -e "$file" ]; then
        kill -9 "${file##*/}"
        sh "$file"
    fi
done
for try in 1 2 3 4 5 6 7 8 9 10; do
    rm -rf -- "$1" && exit
    sleep 0.2
done
"#;

struct Scratch {
    root: PathBuf,
    /// Holds the writing end of the guard's pipe.
    _guard: Child,
}

static SCRATCH: LazyLock<Scratch> = LazyLock::new(Scratch::new);

impl Scratch {
    #[expect(clippy::expect_used, reason = "without a temporary folder there is no test")]
    fn new() -> Self {
        let root = tempfile::Builder::new().prefix("tidings-").tempdir().expect("no temporary folder").keep();
        // Open to the ordinary user that PostgreSQL runs as; what is inside guards itself.
        fs::set_permissions(&root, fs::Permissions::from_mode(0o711)).expect("the temporary folder's mode");
        fs::create_dir(root.join("pids")).expect("a folder in the temporary folder");
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(&root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Out of the terminal's group: Ctrl-C must not end it before its work.
            .process_group(0)
            .spawn()
            .expect("a shell to guard the test's children");
        Self { root, _guard: guard }
    }
}

/// A new folder for `name`, removed when this test process ends.
#[must_use]
#[expect(clippy::expect_used, reason = "without a temporary folder there is no test")]
pub fn folder(name: &str) -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let folder = SCRATCH.root.join(format!("{name}-{number}"));
    fs::create_dir(&folder).expect("a folder in the temporary folder");
    folder
}

/// Has the guard end the child `pid` when this process ends, and run `command` then; it runs too when the child [`ended`] before.
pub(super) fn watch(pid: u32, command: &str) {
    let _ = fs::write(pid_file(pid), command);
}

/// The child `pid` has ended: its number may be another's soon.
pub(super) fn ended(pid: u32) {
    let file = pid_file(pid);
    if fs::metadata(&file).is_ok_and(|found| found.len() > 0) {
        let _ = Command::new("sh").arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
    let _ = fs::remove_file(file);
}

fn pid_file(pid: u32) -> PathBuf {
    Path::new(&SCRATCH.root).join("pids").join(pid.to_string())
}
