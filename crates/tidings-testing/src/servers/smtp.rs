//! A private mail server: aiosmtpd, from PyPI.

use super::server::Server;
use super::tls::Certificates;
use super::{Process, free_port, python, scratch};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);
const SCRIPT: &str = include_str!("smtp_server.py");

/// A running mail server of this test's own.
///
/// It takes every mail but those whose recipient asks for another answer: `550.ada@example.com` is refused with 550,
/// `451x2.ada@example.com` with 451 twice and then taken, `554data.ada@example.com` with 554 after the mail's text, and
/// `hang.ada@example.com` gets no answer.
#[derive(Debug)]
pub struct Smtp {
    server: Server,
    options: SmtpBuilder,
    certificates: Option<Certificates>,
}

/// What a [`Smtp`] is to have beyond the bare server.
#[derive(Debug, Default)]
pub struct SmtpBuilder {
    login: Option<(String, String)>,
    tls: Option<&'static str>,
    ascii: bool,
}

/// A mail that the server took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// The commands that named sender and recipients, a line each.
    pub envelope: String,
    /// The mail as it came, headers and all.
    pub text: String,
}

impl SmtpBuilder {
    /// Takes mail only from who logs in as this user.
    #[must_use]
    pub fn login(mut self, user: &str, password: &str) -> Self {
        self.login = Some((user.to_owned(), password.to_owned()));
        self
    }

    /// Offers STARTTLS, with a certificate for `localhost` and `127.0.0.1` from [`Smtp::ca`].
    #[must_use]
    pub fn starttls(mut self) -> Self {
        self.tls = Some("starttls");
        self
    }

    /// Speaks TLS from the first byte, with such a certificate.
    #[must_use]
    pub fn wrapped(mut self) -> Self {
        self.tls = Some("wrapped");
        self
    }

    /// Offers no SMTPUTF8.
    #[must_use]
    pub fn ascii(mut self) -> Self {
        self.ascii = true;
        self
    }

    /// Starts it and waits until it listens; `None` where Python or PyPI is out of reach.
    ///
    /// # Panics
    /// When it does not listen within 20 s.
    pub async fn start(self) -> Option<Smtp> {
        let python = python(&["aiosmtpd==1.4.6"]).await?;
        let folder = scratch::folder("smtp");
        let certificates = self.tls.map(|_| Certificates::write(&folder));
        let port = free_port();
        let mut command = Command::new(python);
        command.args(["-c", SCRIPT, "--port", &port.to_string(), "--folder"]).arg(&folder);
        if let Some((user, password)) = &self.login {
            command.arg("--login").arg(format!("{user}:{password}"));
        }
        if let (Some(tls), Some(files)) = (self.tls, &certificates) {
            command.args(["--tls", tls, "--certificate"]).arg(&files.certificate).arg("--key").arg(&files.key);
        }
        if self.ascii {
            command.arg("--ascii");
        }
        let server = Server::start("smtp", command, folder, port, PATIENCE);
        let mut smtp = Smtp { server, options: self, certificates };
        smtp.ready().await;
        Some(smtp)
    }
}

impl Smtp {
    /// A bare server, open to all on this machine.
    pub async fn start() -> Option<Self> {
        Self::builder().start().await
    }

    /// For a server with a login, TLS or limits.
    #[must_use]
    pub fn builder() -> SmtpBuilder {
        SmtpBuilder::default()
    }

    /// `smtp://127.0.0.1:PORT`, or `smtps://` when it speaks nothing but TLS. Without the login.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.options.tls == Some("wrapped") { "smtps" } else { "smtp" };
        format!("{scheme}://{}", self.address())
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

    /// What it took, in order; a restart forgets nothing.
    #[must_use]
    pub fn mails(&self) -> Vec<ReceivedMail> {
        (1..)
            .map_while(|number: u32| fs::read_to_string(self.server.folder.join(format!("{number}.mail"))).ok())
            .map(|file| received(&file))
            .collect()
    }

    /// How many connections were made to it since it was started last.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.server.process.stdout().lines().filter(|line| *line == "connection").count()
    }

    /// Ends it at once (SIGKILL). Its port stays.
    pub fn kill(&mut self) {
        self.server.kill();
    }

    /// Starts it again on the same port and with the mails it had, and waits until it listens.
    ///
    /// # Panics
    /// When it still runs, or does not listen within 20 s.
    pub async fn restart(&mut self) {
        self.server.restart();
        self.ready().await;
    }

    async fn ready(&mut self) {
        self.server.ready(async |process| process.stdout().lines().any(|line| line == "listening")).await;
    }
}

impl AsRef<Process> for Smtp {
    fn as_ref(&self) -> &Process {
        &self.server.process
    }
}

fn received(file: &str) -> ReceivedMail {
    let (envelope, text) = file.split_once("\r\n\r\n").unwrap_or((file, ""));
    ReceivedMail { envelope: envelope.to_owned(), text: text.to_owned() }
}
