//! Mails to a mail server, over connections that are kept for the next mail.
//!
//! The pool is our own, of lettre's connections: lettre's takes back a connection whose command was cut by a timeout, and
//! from then on reads each answer one command late. Here only a connection whose mail went through is kept.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::extension::{ClientId, Extension};
use tokio::time::timeout;

use super::reply::Reply;
use super::url::{Encryption, Server};
use super::{Limits, Mail, SendError};

/// How long a connection is kept for the next mail; servers hang up on idle ones after minutes.
const KEEP: Duration = Duration::from_secs(60);

/// One mail server.
#[derive(Debug)]
pub(super) struct Smtp {
    server: Server,
    hello: ClientId,
    limits: Limits,
    idle: Mutex<Vec<Idle>>,
}

struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl Smtp {
    /// A mail server that is greeted with the sender's domain.
    pub(super) fn new(server: Server, from: &Mailbox, limits: Limits) -> Self {
        let hello = ClientId::Domain(from.email.domain().to_owned());
        Self { server, hello, limits, idle: Mutex::default() }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Hands the mail to the server; `Ok` when it has taken responsibility.
    ///
    /// # Cancel safety
    /// The connection of a dropped call is closed. Whether the server took the mail is then unknown.
    pub(super) async fn send(&self, mail: &Mail) -> Result<(), SendError> {
        let limit = self.limits.timeout;
        match timeout(limit, self.attempt(mail)).await {
            Ok(result) => result,
            Err(_) => Err(SendError::Timeout { server: self.server.name(), limit }),
        }
    }

    async fn attempt(&self, mail: &Mail) -> Result<(), SendError> {
        let mut connection = self.connection().await?;
        let envelope = mail.message().envelope();
        let utf8 = connection.server_info().supports_feature(Extension::SmtpUtfEight);
        if !utf8 && !mail.to().is_ascii() {
            self.keep(connection);
            return Err(SendError::Internationalised);
        }
        match connection.send(envelope, &mail.message().formatted()).await {
            Ok(_) => {
                self.keep(connection);
                Ok(())
            }
            Err(error) => Err(self.refusal(error, mail)),
        }
    }

    fn refusal(&self, error: lettre::transport::smtp::Error, mail: &Mail) -> SendError {
        let address = mail.to();
        let local_part = address.rsplit_once('@').map_or("", |(local_part, _)| local_part);
        match Reply::of(&error, &[address, local_part]) {
            Some(reply) if reply.asks_for_login() => self.no_login(format!("it answers {}", reply.number())),
            Some(reply) if error.is_permanent() => SendError::Refused(reply),
            Some(reply) => SendError::Deferred(reply),
            None => self.broken(error),
        }
    }

    /// A connection that is ready for a mail, kept or new.
    async fn connection(&self) -> Result<AsyncSmtpConnection, SendError> {
        while let Some(mut kept) = self.take_kept() {
            if kept.test_connected().await {
                return Ok(kept);
            }
        }
        let mut connection = self.connect().await?;
        self.log_in(&mut connection).await?;
        Ok(connection)
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SendError> {
        let wrapped = match &self.server.encryption {
            Encryption::Wrapped(tls) => Some(tls.0.clone()),
            _ => None,
        };
        let address = (self.server.host.as_str(), self.server.port);
        let mut connection = AsyncSmtpConnection::connect_tokio1(address, Some(self.limits.timeout), &self.hello, wrapped, None)
            .await
            .map_err(|error| self.turned_away("the greeting", error))?;
        match &self.server.encryption {
            Encryption::Offered(tls) if connection.can_starttls() => self.encrypt(&mut connection, &tls.0).await?,
            Encryption::Required(tls) if connection.can_starttls() => self.encrypt(&mut connection, &tls.0).await?,
            Encryption::Required(_) => return Err(self.unencrypted("and tls=required of --mail insists on it")),
            Encryption::Offered(_) | Encryption::Off | Encryption::Wrapped(_) => {}
        }
        Ok(connection)
    }

    async fn encrypt(&self, connection: &mut AsyncSmtpConnection, tls: &TlsParameters) -> Result<(), SendError> {
        let encrypted = connection.starttls(tls.clone(), &self.hello).await;
        encrypted.map_err(|error| self.turned_away("STARTTLS", error))
    }

    async fn log_in(&self, connection: &mut AsyncSmtpConnection) -> Result<(), SendError> {
        let Some(login) = &self.server.login else {
            return Ok(());
        };
        let open = !connection.is_encrypted() && !matches!(self.server.encryption, Encryption::Off);
        if open && !self.server.is_here() {
            return Err(
                self.unencrypted("and the login of --mail would be readable on the way; add ?tls=off to send it all the same")
            );
        }
        match connection.auth(DEFAULT_MECHANISMS, login).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_client() => Err(self.no_login("it offers neither PLAIN nor LOGIN".to_owned())),
            // Only the number: the words may repeat the login.
            Err(error) => Err(match Reply::of(&error, &[]) {
                Some(reply) => self.no_login(format!("it answers {}", reply.number())),
                None => self.broken(error),
            }),
        }
    }

    fn take_kept(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle();
        idle.retain(|kept| kept.since.elapsed() < KEEP);
        idle.pop().map(|kept| kept.connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle();
        if idle.len() < self.limits.idle {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turned_away(&self, step: &'static str, error: lettre::transport::smtp::Error) -> SendError {
        match Reply::of(&error, &[]) {
            Some(reply) => SendError::TurnedAway { server: self.server.name(), step, reply },
            None => self.broken(error),
        }
    }

    fn broken(&self, error: lettre::transport::smtp::Error) -> SendError {
        let server = self.server.name();
        // What is no SMTP is not shown: it may repeat what it was sent.
        match error.is_response() {
            true => SendError::NotSmtp { server },
            false => SendError::Connection { server, source: error },
        }
    }

    fn unencrypted(&self, reason: &'static str) -> SendError {
        SendError::Unencrypted { server: self.server.name(), reason }
    }

    fn no_login(&self, reason: String) -> SendError {
        SendError::Login { server: self.server.name(), reason }
    }
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("since", &self.since).finish_non_exhaustive()
    }
}

#[cfg(all(test, unix))]
mod tests;
