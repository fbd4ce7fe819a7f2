//! A private nats-server, with or without JetStream.

use super::credentials::Credentials;
use super::server::Server;
use super::tls::Certificates;
use super::{Process, free_port, require, scratch};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Its stores are made on a disk that others may keep busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running nats-server of this test's own.
#[derive(Debug)]
pub struct Nats {
    server: Server,
    login: String,
    credentials: Option<Credentials>,
    certificates: Option<Certificates>,
}

/// What a [`Nats`] is to have beyond the bare server.
#[derive(Debug, Default)]
pub struct NatsBuilder {
    jetstream: bool,
    /// What stands before the `@` of its URL.
    login: String,
    credentials: bool,
    tls: bool,
    config: String,
}

impl NatsBuilder {
    /// JetStream, stored in files.
    #[must_use]
    pub fn jetstream(mut self) -> Self {
        self.jetstream = true;
        self
    }

    /// Lets in only this user.
    #[must_use]
    pub fn user(mut self, user: &str, password: &str) -> Self {
        self.login = format!("{user}:{password}@");
        self.config(&format!("authorization {{ user: \"{user}\", password: \"{password}\" }}"))
    }

    /// Lets in only who shows this token.
    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.login = format!("{token}@");
        self.config(&format!("authorization {{ token: \"{token}\" }}"))
    }

    /// Lets in only who has the key in [`Nats::credentials_file`].
    #[must_use]
    pub fn credentials(mut self) -> Self {
        self.credentials = true;
        self
    }

    /// Requires TLS, with a certificate for `localhost` and `127.0.0.1` from [`Nats::ca`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Adds lines to the server's configuration file.
    #[must_use]
    pub fn config(mut self, lines: &str) -> Self {
        self.config.push_str(lines);
        self.config.push('\n');
        self
    }

    /// Starts it and waits until it answers; `None` where nats-server is not installed.
    ///
    /// # Panics
    /// When it does not answer within 60 s.
    pub async fn start(mut self) -> Option<Nats> {
        let program = require("nats-server", "nats-server")?;
        let folder = scratch::folder("nats");
        let certificates = self.tls.then(|| Certificates::write(&folder));
        let credentials = self.credentials.then(|| Credentials::write(&folder));
        if let Some(credentials) = &credentials {
            self.config += &credentials.config;
        }
        let port = free_port();
        let config = folder.join("nats.conf");
        write(&config, &self.lines(&folder, port, certificates.as_ref()));
        let mut command = Command::new(program);
        command.arg("--config").arg(&config);
        let server = Server::start("nats-server", command, folder, port, PATIENCE);
        let mut nats = Nats { server, login: self.login, credentials, certificates };
        nats.ready().await;
        Some(nats)
    }

    fn lines(&self, folder: &Path, port: u16, certificates: Option<&Certificates>) -> String {
        let mut lines = format!("listen: \"127.0.0.1:{port}\"\n{}", self.config);
        if self.jetstream {
            // Streams reserve what they may grow to; by default the server has no more to give than most of what the disk has free.
            lines += &format!("jetstream {{ store_dir: {:?}, max_file_store: 64GB }}\n", folder.join("store"));
        }
        if let Some(tls) = certificates {
            lines += &format!("tls {{ cert_file: {:?}, key_file: {:?} }}\n", tls.certificate, tls.key);
        }
        lines
    }
}

impl Nats {
    /// A bare server: NATS core, open to all on this machine.
    ///
    /// `None` where nats-server is not installed; the test is then skipped.
    pub async fn start() -> Option<Self> {
        Self::builder().start().await
    }

    /// A server with JetStream, open to all on this machine.
    pub async fn with_jetstream() -> Option<Self> {
        Self::builder().jetstream().start().await
    }

    /// For a server with a user, a token, TLS or settings of its own.
    #[must_use]
    pub fn builder() -> NatsBuilder {
        NatsBuilder::default()
    }

    /// `nats://127.0.0.1:PORT`, with the user and password or the token that it asks for.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://{}{}", self.login, self.address())
    }

    /// [`url`](Self::url) under the scheme of the durable broker.
    #[must_use]
    pub fn jetstream_url(&self) -> String {
        format!("jetstream://{}{}", self.login, self.address())
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// The PEM file of the authority that signed its certificate, when it was started with TLS.
    #[must_use]
    pub fn ca(&self) -> Option<&Path> {
        self.certificates.as_ref().map(|tls| tls.authority.as_path())
    }

    /// The file with the key and the token of the one user, when it was started with credentials.
    #[must_use]
    pub fn credentials_file(&self) -> Option<&Path> {
        self.credentials.as_ref().map(|credentials| credentials.file.as_path())
    }

    /// Ends it at once (SIGKILL). Its port and its data stay.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Ends it in order (SIGTERM). Its port and its data stay.
    pub async fn stop(&mut self) {
        self.server.stop("TERM").await;
    }

    /// Starts it again on the same port and data, and waits until it answers.
    ///
    /// # Panics
    /// When it still runs, or does not answer within 60 s.
    pub async fn restart(&mut self) {
        self.server.restart();
        self.ready().await;
    }

    /// The server greets each connection; it listens only when JetStream is there too.
    async fn ready(&mut self) {
        let port = self.server.port;
        self.server.ready(async |_| greeting(port).is_some_and(|line| line.starts_with("INFO "))).await;
    }
}

impl AsRef<Process> for Nats {
    fn as_ref(&self) -> &Process {
        &self.server.process
    }
}

fn greeting(port: u16) -> Option<String> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    Some(line)
}

#[expect(clippy::expect_used, reason = "without its configuration there is no server")]
fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file in the temporary folder");
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use std::io::Write as _;

    #[tokio::test]
    async fn a_killed_server_comes_back_on_its_port_with_its_store() {
        let Some(mut nats) = Nats::with_jetstream().await else { return };
        let (url, store) = (nats.jetstream_url(), nats.server.folder.join("store"));
        assert!(greeting(nats.server.port).unwrap().contains("\"jetstream\":true"));
        nats.kill();
        assert!(greeting(nats.server.port).is_none());
        nats.restart().await;
        assert_eq!(nats.jetstream_url(), url);
        nats.stop().await;
        assert!(greeting(nats.server.port).is_none() && store.exists());
        drop(nats);
        assert!(!store.exists());
    }

    #[tokio::test]
    async fn its_url_carries_what_it_asks_for() {
        let Some(nats) = Nats::builder().user("ann", "secret").tls().start().await else { return };
        assert!(nats.url().starts_with("nats://ann:secret@127.0.0.1:"));
        let greeting = greeting(nats.server.port).unwrap();
        assert!(greeting.contains("\"auth_required\":true") && greeting.contains("\"tls_required\":true"), "{greeting}");
        assert!(nats.ca().unwrap().exists());
    }

    #[tokio::test]
    async fn who_has_the_credentials_file_is_let_in() {
        let Some(nats) = Nats::builder().credentials().start().await else { return };
        let file = fs::read_to_string(nats.credentials_file().unwrap()).unwrap();
        let mut lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('-'));
        let (jwt, key) = (lines.next().unwrap(), nkeys::KeyPair::from_seed(lines.next().unwrap()).unwrap());

        let mut stream = BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, nats.server.port)).unwrap());
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        let nonce = line.split("\"nonce\":\"").nth(1).unwrap().split('"').next().unwrap();
        let signature = URL_SAFE_NO_PAD.encode(key.sign(nonce.as_bytes()).unwrap());
        let connect = format!("CONNECT {{\"verbose\":false,\"jwt\":\"{jwt}\",\"sig\":\"{signature}\"}}\r\nPING\r\n");
        stream.get_mut().write_all(connect.as_bytes()).unwrap();
        line.clear();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, "PONG\r\n");
    }
}
