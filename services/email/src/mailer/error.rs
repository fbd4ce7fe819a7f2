//! Why a mail could not go, and why `--mail` cannot be used.

use std::path::PathBuf;
use std::time::Duration;

use super::reply::Reply;

/// Why a mail was not sent. No text of it quotes the recipient's address, or the login.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The mail server said no to this mail, and will say so again (5xx).
    #[error("the mail server refuses this mail for good: {0}")]
    Refused(Reply),
    /// The mail server said not now (4xx).
    #[error("the mail server does not take this mail now: {0}")]
    Deferred(Reply),
    /// The address needs SMTPUTF8 (RFC 6531), which this mail server does not offer.
    #[error("the recipient's address has letters outside ASCII before the @, and the mail server does not offer SMTPUTF8")]
    Internationalised,
    /// The mail server turned the connection away before it was asked about a mail.
    #[error("the mail server {server} turns us away at {step}: {reply}")]
    TurnedAway {
        /// Its host and port.
        server: String,
        /// What was done when it said so.
        step: &'static str,
        /// What it said.
        reply: Reply,
    },
    /// The mail server refuses the login in `--mail`, or offers no way to log in that this service knows.
    #[error("the mail server {server} does not take the login of --mail ({reason})")]
    Login {
        /// Its host and port.
        server: String,
        /// The reply's code, or what is missing.
        reason: String,
    },
    /// `--mail` insists on encryption, or holds a login for a server elsewhere, and the server offers no STARTTLS.
    #[error("the mail server {server} offers no STARTTLS, {reason}")]
    Unencrypted {
        /// Its host and port.
        server: String,
        /// Who wants it, and the way out.
        reason: &'static str,
    },
    /// The mail server hung up in the middle, or what it answered is not SMTP.
    #[error("the mail server {server} hung up, or does not speak SMTP")]
    NotSmtp {
        /// Its host and port.
        server: String,
    },
    /// There is no connection to the mail server, or it broke.
    #[error("the connection to the mail server {server} failed")]
    Connection {
        /// Its host and port.
        server: String,
        /// What the client said.
        source: lettre::transport::smtp::Error,
    },
    /// The mail server did not finish in time.
    #[error("the mail server {server} did not take the mail within {} s", limit.as_secs_f32())]
    Timeout {
        /// Its host and port.
        server: String,
        /// The limit, `--mail-timeout`.
        limit: Duration,
    },
    /// The mail's file could not be written.
    #[error("cannot write the mail to {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SendError {
    /// Whether the same mail would fail again however often it is tried.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Internationalised)
    }
}

/// Why `--mail` cannot be used. No text of it quotes the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum MailUrlError {
    /// It is no URL of a known kind.
    #[error("it {0}; use file:FOLDER, smtp://[USER:PASSWORD@]HOST[:PORT][?tls=required|off][&ca=FILE] or smtps://…")]
    Url(String),
    /// The folder cannot be made or written to.
    #[error("the folder {path:?} of --mail cannot be used")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file with the mail server's certificate authority cannot be read.
    #[error("the file {path:?} that ca= in --mail names cannot be read")]
    Authority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds no certificate, or TLS cannot be set up.
    #[error("TLS for --mail cannot be set up")]
    Tls(#[source] lettre::transport::smtp::Error),
}
