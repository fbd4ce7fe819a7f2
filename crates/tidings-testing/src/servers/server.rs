//! What every private server has in common: a process, a port, a folder with its data, and the ways it ends and comes back.
//!
//! Not here: how one kind of server is configured, and how it shows that it answers.

use super::{Process, eventually};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// A running server; the public type of each kind wraps one.
///
/// It ends when this is dropped, and its data goes too.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) folder: PathBuf,
    pub(super) port: u16,
    /// How long it may take to answer, and to stop.
    patience: Duration,
}

impl Server {
    /// Starts `command`, which makes it listen on `port` of `127.0.0.1` and keep its data in `folder`. It does not answer yet.
    pub(super) fn start(name: &str, command: Command, folder: PathBuf, port: u16, patience: Duration) -> Self {
        Self { process: Process::start(name, command), folder, port, patience }
    }

    /// Waits until it `answers`, who is asked again and again.
    ///
    /// # Panics
    /// When it ends, or does not answer in time.
    pub(super) async fn ready(&mut self, mut answers: impl AsyncFnMut(&mut Process) -> bool) {
        let process = &mut self.process;
        eventually(self.patience, async || {
            let answered = answers(process).await;
            assert!(process.is_running(), "{} ended at its start", process.name);
            answered
        })
        .await;
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it at once (SIGKILL).
    pub(super) fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends it in order, by the signal of that name.
    pub(super) async fn stop(&mut self, signal: &str) {
        self.process.signal(signal);
        self.process.exit(self.patience).await;
    }

    /// Starts it again on the same port and data. It does not answer yet.
    pub(super) fn restart(&mut self) {
        self.process.restart();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
