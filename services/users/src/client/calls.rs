//! The calls, and how their answers are printed.

use std::{
    io::{self, Write},
    time::Duration,
};

use tonic::{
    Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint},
};

use super::secret;
use crate::proto::{self, user_service_client::UserServiceClient};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take: longer than the service gives itself.
const ANSWER: Duration = Duration::from_secs(35);

/// Why a call was not made or not answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The command line is wrong.
    #[error("{0}; --help says more")]
    Arguments(String),
    /// Not an address.
    #[error("--address {address} is not HOST:PORT")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        source: tonic::transport::Error,
    },
    /// Nobody answers there.
    #[error("no user-service answers at {address}; --address says where it listens")]
    Connect {
        /// Where.
        address: String,
        /// What the system says.
        source: tonic::transport::Error,
    },
    /// The service refuses.
    #[error("{} ({:?})", .0.message(), .0.code())]
    Refused(Box<Status>),
    /// A token that no header can carry.
    #[error("USERS_TOKEN is not a token")]
    Token,
    /// The secret cannot be read.
    #[error("cannot read from the terminal or standard input")]
    Input(#[source] io::Error),
    /// The two passwords typed.
    #[error("the passwords differ")]
    Differ,
    /// Standard input is empty.
    #[error("{wanted} is wanted: one line on standard input")]
    Nothing {
        /// What.
        wanted: &'static str,
    },
    /// The answer cannot be printed.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl ClientError {
    /// The first part of what clap says of a mistake, in one line.
    #[must_use]
    pub fn arguments(mistake: &clap::Error) -> Self {
        let said = mistake.to_string();
        let said = said.strip_prefix("error: ").unwrap_or(&said);
        let first: Vec<_> = said.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        Self::Arguments(first.join(" "))
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// A connection to a user-service.
pub(super) struct Client(UserServiceClient<Channel>);

impl Client {
    pub(super) async fn connect(address: &str) -> Result<Self, ClientError> {
        let fail = |source| ClientError::Address { address: address.to_owned(), source };
        let endpoint = Endpoint::from_shared(url_of(address)).map_err(fail)?;
        let channel = endpoint.connect_timeout(CONNECT).timeout(ANSWER).connect().await;
        let channel = channel.map_err(|source| ClientError::Connect { address: address.to_owned(), source })?;
        Ok(Self(UserServiceClient::new(channel)))
    }

    pub(super) async fn create(
        &mut self,
        name: String,
        company: String,
        email: String,
        password: String,
    ) -> Result<(), ClientError> {
        let user = proto::User { name, company, email, password, ..Default::default() };
        print_users(self.0.create(user).await?.into_inner().user)
    }

    pub(super) async fn get(&mut self, id: String) -> Result<(), ClientError> {
        let asked = with_token(proto::User { id, ..Default::default() })?;
        print_users(self.0.get(asked).await?.into_inner().user)
    }

    pub(super) async fn list(&mut self) -> Result<(), ClientError> {
        let mut page_token = String::new();
        loop {
            let asked = with_token(proto::Request { page_token, ..Default::default() })?;
            let page = self.0.get_all(asked).await?.into_inner();
            print_users(page.users)?;
            if page.next_page_token.is_empty() {
                return Ok(());
            }
            page_token = page.next_page_token;
        }
    }

    pub(super) async fn auth(&mut self, email: String, password: String) -> Result<(), ClientError> {
        let user = proto::User { email, password, ..Default::default() };
        let token = self.0.auth(user).await?.into_inner().token;
        Ok(writeln!(io::stdout(), "{token}")?)
    }

    pub(super) async fn validate(&mut self, token: String) -> Result<(), ClientError> {
        self.0.validate_token(proto::Token { token, ..Default::default() }).await?;
        Ok(writeln!(io::stdout(), "valid")?)
    }
}

fn with_token<T>(message: T) -> Result<Request<T>, ClientError> {
    let mut request = Request::new(message);
    if let Some(token) = secret::token_if_set() {
        let value = MetadataValue::try_from(format!("Bearer {token}")).map_err(|_| ClientError::Token)?;
        request.metadata_mut().insert("authorization", value);
    }
    Ok(request)
}

/// `:50051`, as go-micro writes it, is this machine.
fn url_of(address: &str) -> String {
    match address {
        url if url.contains("://") => url.to_owned(),
        port if port.starts_with(':') => format!("http://127.0.0.1{port}"),
        _ => format!("http://{address}"),
    }
}

fn print_users(users: impl IntoIterator<Item = proto::User>) -> Result<(), ClientError> {
    let mut out = io::stdout().lock();
    for user in users {
        writeln!(out, "{}", line_of(&user))?;
    }
    Ok(out.flush()?)
}

/// The tutorial's service stored any text: what could steer a terminal, or end a line, is not printed.
fn line_of(user: &proto::User) -> String {
    [&user.id, &user.name, &user.company, &user.email].map(|field| field.replace(char::is_control, "\u{fffd}")).join("\t")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_the_services_settings_write_them() {
        assert_eq!(url_of("localhost:50051"), "http://localhost:50051");
        assert_eq!(url_of(":50051"), "http://127.0.0.1:50051");
        assert_eq!(url_of("http://[::1]:50051"), "http://[::1]:50051");
    }

    #[test]
    fn a_user_is_one_line_whatever_its_name() {
        let user = proto::User { id: "1".into(), name: "a\tb\n\u{1b}[2J".into(), ..Default::default() };
        assert_eq!(line_of(&user), "1\ta\u{fffd}b\u{fffd}\u{fffd}[2J\t\t");
    }
}
