//! A child process under a test's control: its lines, its signals, its end.

use super::{eventually, scratch};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// How much of its output a process of a failed test shows, in lines.
const TAIL: usize = 60;

/// A real process: a server, or a program under test.
///
/// It ends when this is dropped, and when the test process ends in any way. When a test panics, the
/// end of its output is printed.
///
/// ```no_run
/// # async fn test() {
/// use std::process::Command;
/// use std::time::Duration;
/// use tidings_testing::servers::Process;
///
/// let mut command = Command::new("target/debug/users");
/// command.args(["--address", "127.0.0.1:0"]);
/// let mut users = Process::start("users", command);
/// let ready = users.wait_for_line("listening", Duration::from_secs(10)).await;
/// users.terminate();
/// assert!(users.exit(Duration::from_secs(30)).await.success());
/// # }
/// ```
#[derive(Debug)]
pub struct Process {
    pub(super) name: String,
    command: Command,
    folder: PathBuf,
    child: Option<Child>,
    /// Where the output of the present run begins: `restart` appends.
    begins: [u64; 2],
    clear_up: String,
}

impl Process {
    /// Starts `command` with a clean environment: `PATH`, `HOME` in a folder of its own, and the
    /// variables that the command sets itself.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, mut command: Command) -> Self {
        let folder = scratch::folder(name);
        let own: Vec<_> = command.get_envs().map(|(name, value)| (name.to_os_string(), value.map(ToOwned::to_owned))).collect();
        command.env_clear().env("HOME", &folder);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        for (name, value) in own {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let mut process = Self { name: name.to_owned(), command, folder, child: None, begins: [0; 2], clear_up: String::new() };
        process.spawn();
        process
    }

    /// Runs it again with the same arguments and environment, after it has ended.
    ///
    /// # Panics
    /// When it still runs, or cannot be started.
    pub fn restart(&mut self) {
        assert!(self.child.is_none(), "{} still runs", self.name);
        self.spawn();
    }

    #[expect(clippy::expect_used, clippy::panic, reason = "a program that does not start fails the test")]
    fn spawn(&mut self) {
        let [out, err] = self.outputs().map(|path| {
            let file = File::options().create(true).append(true).open(path).expect("a file for the output");
            let begin = file.metadata().map_or(0, |found| found.len());
            (file, begin)
        });
        self.begins = [out.1, err.1];
        self.command.stdin(Stdio::null()).stdout(out.0).stderr(err.0);
        match self.command.spawn() {
            Ok(child) => {
                scratch::watch(child.id(), &self.clear_up);
                self.child = Some(child);
            }
            Err(error) => panic!("{} does not start: {:?}: {error}", self.name, self.command.get_program()),
        }
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.ended().is_none() && self.child.is_some()
    }

    /// What the present run has written to standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        read_from(&self.folder.join("stdout"), self.begins[0])
    }

    /// What the present run has written to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        read_from(&self.folder.join("stderr"), self.begins[1])
    }

    /// Waits until the present run has written a whole line that contains `text`, and returns it.
    ///
    /// # Panics
    /// When there is none `within` that time, or the process has ended without it.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str, within: Duration) -> impl Future<Output = String> {
        let text = text.to_owned();
        eventually(within, async move || {
            // Asked before the output is read: what it wrote before its end is then seen.
            let ended = self.ended();
            let found = [self.stderr(), self.stdout()]
                .iter()
                .flat_map(|output| output.split_inclusive('\n'))
                .find(|line| line.ends_with('\n') && line.contains(&text))
                .map(|line| line.trim_end().to_owned());
            assert!(
                found.is_some() || ended.is_none(),
                "{} ended ({}) without a line that contains `{text}`",
                self.name,
                ended.map_or_else(String::new, |status| status.to_string()),
            );
            found
        })
    }

    /// Asks it to end (SIGTERM).
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends the signal of this name, such as `INT`, `STOP` or `CONT`.
    ///
    /// # Panics
    /// When it cannot be sent.
    #[expect(clippy::expect_used, reason = "kill(1) is on every system that runs these tests")]
    pub fn signal(&self, name: &str) {
        if let Some(id) = self.id() {
            let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status().expect("kill(1)");
            assert!(sent.success(), "signal {name} to {}: {sent}", self.name);
        }
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
            scratch::ended(child.id());
        }
    }

    /// Has this command of the shell run after each of its ends, however it comes: for what outlives it outside of its folder.
    pub(super) fn clear_up(&mut self, command: String) {
        self.clear_up = command;
        if let Some(id) = self.id() {
            scratch::watch(id, &self.clear_up);
        }
    }

    /// Waits for its end and returns its exit status.
    ///
    /// # Panics
    /// When it does not end `within` that time, or does not run.
    #[track_caller]
    pub fn exit(&mut self, within: Duration) -> impl Future<Output = ExitStatus> {
        assert!(self.child.is_some(), "{} does not run", self.name);
        eventually(within, async move || {
            let status = self.ended();
            if status.is_some() {
                self.kill();
            }
            status
        })
    }

    /// Its exit status, when it has ended by itself.
    fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut()?.try_wait().ok().flatten()
    }

    /// Prints the end of its output on standard error.
    pub fn print_log(&self) {
        let mut stderr = std::io::stderr().lock();
        for (what, path) in ["stdout", "stderr"].iter().zip(self.outputs()) {
            let output = read_from(&path, 0);
            let lines: Vec<&str> = output.lines().collect();
            for line in &lines[lines.len().saturating_sub(TAIL)..] {
                let _ = writeln!(stderr, "[{} {what}] {line}", self.name);
            }
        }
    }

    fn outputs(&self) -> [PathBuf; 2] {
        ["stdout", "stderr"].map(|name| self.folder.join(name))
    }
}

impl AsRef<Self> for Process {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.print_log();
        }
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn read_from(path: &Path, begin: u64) -> String {
    let bytes = fs::read(path).unwrap_or_default();
    let begin = usize::try_from(begin).unwrap_or(usize::MAX);
    String::from_utf8_lossy(bytes.get(begin..).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
