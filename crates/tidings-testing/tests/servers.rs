//! What is left of a test's servers when the test process ends, in each of the ways that it can: this program runs itself as
//! the test that ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper, too, stops its test")]
#![cfg(target_os = "linux")] // It shows below /proc what runs, from where, and whose memory is left.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tidings_testing::servers::{Nats, NatsCluster, Postgres, Process, Shared, eventually};

const ENDING: &str = "KIT_TEST_ENDING";
const SOON: Duration = Duration::from_secs(60);

/// One of each kind, and a shared one, which is never dropped.
struct Servers {
    nats: Nats,
    cluster: NatsCluster,
    postgres: Postgres,
    shared: Shared<Postgres>,
}

impl Servers {
    async fn start() -> Option<Self> {
        let (nats, cluster, postgres, shared) =
            tokio::join!(Nats::with_jetstream(), NatsCluster::start(), Postgres::start(), Postgres::shared());
        Some(Self { nats: nats?, cluster: cluster?, postgres: postgres?, shared: shared? })
    }

    fn ids(&self) -> String {
        let nats: [&Process; 2] = [self.nats.as_ref(), self.cluster.node(0).as_ref()];
        let postgres: [&Process; 2] = [self.postgres.as_ref(), (*self.shared).as_ref()];
        nats.iter().chain(&postgres).map(|process| format!(" {}", process.id().unwrap())).collect()
    }
}

/// The test that ends as it is told to.
#[tokio::test]
#[ignore = "run by the other tests as a process of its own"]
async fn the_test_that_ends() -> Result<(), &'static str> {
    let Ok(ending) = env::var(ENDING) else { return Ok(()) };
    let Some(mut servers) = Servers::start().await else {
        println!("skipped");
        return Ok(());
    };
    println!("started{}", servers.ids());
    match ending.as_str() {
        "success" => Ok(()),
        "success without servers" => {
            servers.nats.kill();
            servers.cluster.kill(0);
            servers.postgres.kill();
            Ok(())
        }
        "failure" => Err("it failed"),
        "panic" => panic!("it panicked"),
        _ => std::future::pending().await,
    }
}

/// A test process that ends in that way, and has a folder of its own for all that is made.
struct Victim {
    process: Process,
    folder: TempDir,
    /// Of its servers.
    ids: Vec<String>,
}

impl Victim {
    /// `None` where a server is not installed.
    async fn start(ending: &str) -> Option<Self> {
        let folder = TempDir::new().unwrap();
        // PostgreSQL runs as an ordinary user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        // What a shell runs in the background ignores Ctrl-C, and so would all that it starts.
        let mut command = Command::new("env");
        command.arg("--default-signal=INT").arg(env::current_exe().unwrap());
        command.args(["--exact", "the_test_that_ends", "--ignored", "--nocapture"]);
        command.env(ENDING, ending).env("TMPDIR", folder.path());
        for name in ["REQUIRE_SERVERS", "NATS_SERVER", "INITDB"] {
            command.envs(env::var_os(name).map(|value| (name, value)));
        }
        // As a shell starts it: Ctrl-C is for it and all that it started.
        command.process_group(0);
        let mut process = Process::start("the-test-that-ends", command);
        let line = eventually(SOON, async || {
            let has_ended = !process.is_running();
            let said = process.stdout();
            let line = said.split_inclusive('\n').find_map(|line| Some(line[line.find("started")?..].to_owned()));
            assert!(line.is_some() || !has_ended || said.contains("skipped"), "{said}{}", process.stderr());
            line.filter(|line| line.ends_with('\n')).or_else(|| has_ended.then(String::new))
        })
        .await;
        let ids: Vec<_> = line.split_whitespace().skip(1).map(str::to_owned).collect();
        (!ids.is_empty()).then_some(Self { process, folder, ids })
    }

    fn signal(&self, name: &str) {
        let group = format!("-{}", self.process.id().unwrap());
        assert!(Command::new("kill").args(["-s", name, "--", &group]).status().unwrap().success());
    }

    /// Waits for its end, and then until nothing is left of it. Answers whether it succeeded, and what it printed.
    async fn leaves_nothing(mut self) -> (bool, String) {
        let status = self.process.exit(SOON).await;
        let printed = self.process.stdout() + &self.process.stderr();
        eventually(SOON, async || left_behind(self.folder.path(), &self.ids).is_empty()).await;
        (status.success(), printed)
    }
}

/// Files in `folder`, processes that were started with a path in it or work in it, and memory that one of `ids` had made.
fn left_behind(folder: &Path, ids: &[String]) -> Vec<String> {
    let mut left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    let folder = folder.to_str().unwrap();
    for process in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()) {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        let home = fs::read_link(process.join("cwd")).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(folder) || home.starts_with(folder) {
            left.push(String::from_utf8_lossy(&command).into_owned());
        }
    }
    let memory = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let of_theirs = |line: &&str| line.split_whitespace().nth(4).is_some_and(|maker| ids.iter().any(|id| id == maker));
    left.extend(memory.lines().filter(of_theirs).map(str::to_owned));
    left
}

#[tokio::test]
async fn nothing_is_left_after_a_success() {
    let Some(victim) = Victim::start("success").await else { return };
    assert!(victim.leaves_nothing().await.0);
}

#[tokio::test]
async fn nothing_is_left_of_servers_that_the_test_had_killed() {
    let Some(victim) = Victim::start("success without servers").await else { return };
    assert!(victim.leaves_nothing().await.0);
}

#[tokio::test]
async fn nothing_is_left_after_a_failure() {
    let Some(victim) = Victim::start("failure").await else { return };
    assert!(!victim.leaves_nothing().await.0);
}

#[tokio::test]
async fn nothing_is_left_after_a_panic_but_the_end_of_each_log() {
    let Some(victim) = Victim::start("panic").await else { return };
    let (succeeded, printed) = victim.leaves_nothing().await;
    assert!(!succeeded);
    assert_eq!(printed.matches("Server is ready").count(), 4, "{printed}");
    assert_eq!(printed.matches("ready to accept connections").count(), 2, "{printed}");
}

#[tokio::test]
async fn nothing_is_left_after_ctrl_c() {
    let Some(victim) = Victim::start("wait").await else { return };
    victim.signal("INT");
    assert!(!victim.leaves_nothing().await.0);
}

#[tokio::test]
async fn nothing_is_left_after_a_kill() {
    let Some(victim) = Victim::start("wait").await else { return };
    victim.process.signal("KILL");
    assert!(!victim.leaves_nothing().await.0);
}
