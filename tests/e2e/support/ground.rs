//! One system of services: its folder, what they are told, and the running processes.

use super::{Client, Mails, SOON, client, program};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidings_testing::servers::{Process, eventually, folder, free_port};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Where a system runs: one folder for its data, and flags that its services share.
pub(crate) struct Ground {
    folder: PathBuf,
    flags: Vec<String>,
}

impl Ground {
    /// On the defaults: SQLite for everything, in a folder of its own.
    pub(crate) fn embedded() -> Self {
        Self { folder: folder("ground"), flags: Vec::new() }
    }

    /// On this broker.
    pub(crate) fn on(broker: &str) -> Self {
        let mut ground = Self::embedded();
        ground.flags.extend(["--broker".to_owned(), broker.to_owned()]);
        ground
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn mails(&self) -> Mails {
        Mails::in_folder(self.folder.join("data/mail"))
    }

    /// Starts the user-service with these flags too, and waits until it is ready.
    pub(crate) async fn users(&self, flags: &[&str]) -> Running {
        let address = free_port();
        let mut command = self.command(&program("users"));
        command.args(["--address", &format!("127.0.0.1:{address}")]).args(flags);
        self.run("users", command, Some(address)).await
    }

    /// Starts an email-service with these flags too, and waits until it is ready.
    pub(crate) async fn email(&self, flags: &[&str]) -> Running {
        let mut command = self.command(&program("email"));
        command.args(flags);
        self.run("email", command, None).await
    }

    /// Starts any service of the framework, and waits until it is ready.
    pub(crate) async fn service(&self, name: &str, program: &Path, flags: &[&str]) -> Running {
        let mut command = self.command(program);
        command.args(flags);
        self.run(name, command, None).await
    }

    async fn run(&self, name: &str, mut command: Command, address: Option<u16>) -> Running {
        let admin = free_port();
        command.args(["--admin", &format!("127.0.0.1:{admin}")]);
        let mut running = Running { process: Process::start(name, command), address, admin };
        running.ready().await;
        running
    }

    /// The program, in the system's folder, with the system's flags.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.args(&self.flags).current_dir(&self.folder);
        command
    }
}

/// A service that runs.
pub(crate) struct Running {
    pub(crate) process: Process,
    address: Option<u16>,
    admin: u16,
}

impl Running {
    /// Waits until `/readyz` says so.
    pub(crate) async fn ready(&mut self) {
        let (process, admin) = (&mut self.process, self.admin);
        eventually(SOON, async || {
            assert!(process.is_running(), "the service ended at its start");
            http_get(admin, "/readyz").await.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        })
        .await;
    }

    /// A client of its gRPC calls.
    pub(crate) fn client(&self) -> Client {
        client(self.port())
    }

    /// Its gRPC port.
    pub(crate) fn port(&self) -> u16 {
        self.address.expect("this service has no calls")
    }

    /// Kills it and starts it again, on the same ports and data.
    pub(crate) async fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process.restart();
        self.ready().await;
    }

    /// How often each mail was written, by the name of its file, as the email-service logged it.
    pub(crate) fn mails_sent(&self) -> BTreeMap<String, usize> {
        let mut sent = BTreeMap::new();
        let (out, err) = (self.process.stdout(), self.process.stderr());
        for word in out.split_whitespace().chain(err.split_whitespace()) {
            if let Some((path, _)) = word.split_once(".eml") {
                *sent.entry(path.rsplit('/').next().unwrap_or(path).to_owned()).or_default() += 1;
            }
        }
        sent
    }

    /// All metrics, as Prometheus reads them.
    pub(crate) async fn metrics(&self) -> String {
        http_get(self.admin, "/metrics").await.unwrap_or_default()
    }

    /// The sum of a metric's samples whose line contains `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> f64 {
        let answer = self.metrics().await;
        let samples = answer.lines().filter(|line| line.starts_with(name) && line.contains(label));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

/// The whole answer, head and body; `None` while nobody listens.
async fn http_get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}
