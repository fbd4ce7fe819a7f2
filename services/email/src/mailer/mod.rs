//! Where mails go: into a folder as `.eml` files, or to a mail server, chosen by the URL of `--mail`.

mod error;
mod files;
mod mail;
mod reply;
mod smtp;
mod url;

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;

pub use error::{MailUrlError, SendError};
pub use mail::{InvalidAddress, Mail, sender};

use files::Files;
use smtp::Smtp;
use url::Target;

/// Sends mails to the place that `--mail` names.
#[derive(Debug)]
pub struct Mailer(Kind);

#[derive(Debug)]
enum Kind {
    Files(Files),
    Smtp(Smtp),
}

/// Where a mail is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// In this file, synced.
    File(PathBuf),
    /// The mail server has taken responsibility for it.
    Accepted,
}

/// The limits of a mailer.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long one mail may take with a mail server, from the connection to the answer.
    pub timeout: Duration,
    /// How many connections to a mail server are kept open for the next mails.
    pub idle: usize,
}

impl Mailer {
    /// Opens the target that `url` names: `file:<folder>`, `smtp://…` or `smtps://…`.
    ///
    /// A folder is made when it is absent. A mail server is not asked anything yet: it may be away at start, and every
    /// mail is tried again until it is back.
    ///
    /// `from` is the sender; its domain is what a mail server is greeted with.
    ///
    /// # Errors
    /// A [`MailUrlError`]; it never quotes the URL, which may hold a password.
    pub fn open(url: &str, from: &Mailbox, limits: Limits) -> Result<Self, MailUrlError> {
        Ok(Self(match Target::parse(url)? {
            Target::Folder(folder) => Kind::Files(Files::open(folder)?),
            Target::Server(server) => Kind::Smtp(Smtp::new(*server, from, limits)),
        }))
    }

    /// Where the mails go, for people: a folder, or host and port.
    #[must_use]
    pub fn target(&self) -> String {
        match &self.0 {
            Kind::Files(files) => files.folder().display().to_string(),
            Kind::Smtp(smtp) => smtp.server().name(),
        }
    }

    /// Sends one mail; the same mail sent again replaces the file, or reaches the mail server with the same `Message-ID`.
    ///
    /// # Errors
    /// A [`SendError`]; [`SendError::is_permanent`] tells whether the same mail can ever go.
    ///
    /// # Cancel safety
    /// A dropped call sends the mail or does not; the connection that it used is closed.
    pub async fn send(&self, mail: &Mail) -> Result<Sent, SendError> {
        match &self.0 {
            Kind::Files(files) => files.write(mail).await.map(Sent::File),
            Kind::Smtp(smtp) => smtp.send(mail).await.map(|()| Sent::Accepted),
        }
    }
}
