//! A private PostgreSQL.

use super::server::Server;
use super::{Process, Shared, free_port, require, scratch};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

const PATIENCE: Duration = Duration::from_secs(60);

/// Survives the death of any process, not of the machine: all that a test can ask, and fast.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    // In its folder: what is below /dev/shm outlives a server that is killed.
    "dynamic_shared_memory_type=mmap",
    "fsync=off",
    "full_page_writes=off",
    "max_connections=300",
    "shared_buffers=64MB",
    "log_min_messages=warning",
];

/// A running PostgreSQL of this test's own, or of all tests of a binary ([`Postgres::shared`]).
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
}

impl Postgres {
    /// Makes a new cluster, starts it and waits until it answers.
    ///
    /// `None` where PostgreSQL is not installed; the test is then skipped.
    ///
    /// # Panics
    /// When it cannot be made, or does not answer within a minute.
    #[expect(clippy::expect_used, reason = "a server that does not start fails the test")]
    pub async fn start() -> Option<Self> {
        // Its programs call each other, so they must come from one folder: that behind the link on PATH.
        let initdb = require("initdb", "postgresql")?.canonicalize().expect("the folder of initdb");
        let programs = initdb.parent().expect("the folder of initdb").to_owned();
        let folder = scratch::folder("postgres");
        let user = OrdinaryUser::when_root(&folder);
        if let Some(user) = user {
            chown(&folder, Some(user.id), Some(user.group)).expect("the data folder's owner");
        }
        let data = folder.join("data");
        let mut make = as_user(user, &initdb);
        make.arg("--pgdata").arg(&data).args([
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]);
        let mut make = Process::start("initdb", make);
        assert!(make.exit(PATIENCE).await.success(), "initdb failed");

        let port = free_port();
        let mut command = as_user(user, &programs.join("postgres"));
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        let mut server = Server::start("postgres", command, folder, port, PATIENCE);
        server.process.clear_up(freeing_memory(&data));
        let mut postgres = Self { server, programs };
        postgres.ready().await;
        Some(postgres)
    }

    /// The one server that all tests of this binary share.
    pub async fn shared() -> Option<Shared<Self>> {
        static SHARED: OnceCell<Option<Postgres>> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await.as_ref().map(Shared)
    }

    /// The URL of a new, empty database.
    ///
    /// # Panics
    /// When it cannot be made.
    pub async fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql(&self.url(), &format!("CREATE DATABASE {name}")).await;
        format!("postgres://postgres@{}/{name}", self.server.address())
    }

    /// `127.0.0.1:PORT`, for a [`Proxy`](super::Proxy) before it.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// The URL of the database that each server has, `postgres`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.server.address())
    }

    /// Runs SQL through `psql` and returns what it answers: a line a row, columns apart by `|`.
    ///
    /// # Panics
    /// When it fails.
    pub async fn sql(&self, url: &str, sql: &str) -> String {
        let output = psql(&self.programs, url, sql).await;
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Ends it at once (SIGKILL). Its port and its data stay.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Ends it in order, cutting its connections (SIGINT, a fast shutdown). Its port and its data stay.
    pub async fn stop(&mut self) {
        self.server.stop("INT").await;
    }

    /// Starts it again on the same port and data, and waits until it answers.
    ///
    /// # Panics
    /// When it still runs, or does not answer within a minute.
    pub async fn restart(&mut self) {
        self.server.restart();
        self.ready().await;
    }

    async fn ready(&mut self) {
        let (programs, url) = (&self.programs, self.url());
        let answers = async |process: &mut Process| {
            // After a kill it refuses to start until the last of its old children has noticed.
            if !process.is_running() && process.stderr().contains("still in use") {
                process.kill();
                process.restart();
            }
            psql(programs, &url, "SELECT 1").await.status.success()
        };
        self.server.ready(answers).await;
    }
}

impl AsRef<Process> for Postgres {
    fn as_ref(&self) -> &Process {
        &self.server.process
    }
}

#[expect(clippy::expect_used, reason = "psql comes with the server")]
async fn psql(programs: &Path, url: &str, sql: &str) -> Output {
    tokio::process::Command::new(programs.join("psql"))
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .args(["--command", sql, url])
        .kill_on_drop(true)
        .output()
        .await
        .expect("psql")
}

/// The shell's command that frees the segment of shared memory by which a server knows that another has its data: it outlives one
/// that is killed. Its number is the last word of the seventh line of `postmaster.pid`, which goes when the server is stopped.
fn freeing_memory(data: &Path) -> String {
    format!("ipcrm -m $(awk 'NR == 7 {{ print $NF }}' {:?})", data.join("postmaster.pid"))
}

/// Who runs the server when the tests run as root, whom it refuses.
#[derive(Debug, Clone, Copy)]
struct OrdinaryUser {
    id: u32,
    group: u32,
}

impl OrdinaryUser {
    /// `None` when this process, which made `folder`, is not root's.
    #[expect(clippy::expect_used, reason = "a server that does not start fails the test")]
    fn when_root(folder: &Path) -> Option<Self> {
        if fs::metadata(folder).expect("the data folder").uid() != 0 {
            return None;
        }
        let number = |option, name| {
            let output = Command::new("id").args([option, name]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        let user = ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Some(Self { id: number("-u", name)?, group: number("-g", name)? }));
        Some(user.expect("PostgreSQL refuses root, and there is no user `postgres` or `nobody`"))
    }
}

fn as_user(user: Option<OrdinaryUser>, program: &Path) -> Command {
    let mut command = Command::new(program);
    if let Some(user) = user {
        // Its children look at the working folder, which may be closed to that user.
        command.uid(user.id).gid(user.group).current_dir("/");
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own() {
        let Some(postgres) = Postgres::shared().await else { return };
        let (one, other) = (postgres.database().await, postgres.database().await);
        postgres.sql(&one, "CREATE TABLE t (n int)").await;
        postgres.sql(&other, "CREATE TABLE t (n int)").await;
        postgres.sql(&one, "INSERT INTO t VALUES (1), (2)").await;
        assert_eq!(postgres.sql(&one, "SELECT n FROM t ORDER BY n").await, "1\n2");
        assert_eq!(postgres.sql(&other, "SELECT count(*) FROM t").await, "0");
    }

    #[tokio::test]
    async fn what_was_committed_survives_a_kill() {
        let Some(mut postgres) = Postgres::start().await else { return };
        let url = postgres.database().await;
        postgres.sql(&url, "CREATE TABLE t (n int); INSERT INTO t VALUES (7)").await;
        postgres.kill();
        postgres.restart().await;
        assert_eq!(postgres.sql(&url, "SELECT n FROM t").await, "7");
        postgres.stop().await;
        postgres.restart().await;
        assert_eq!(postgres.sql(&url, "SELECT n FROM t").await, "7");
    }
}
