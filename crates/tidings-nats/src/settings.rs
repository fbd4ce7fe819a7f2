//! A URL as typed settings: where the servers are, who we are to them, and what goes on the wire.
//!
//! What only JetStream has is read in its own room.

use std::path::PathBuf;

use async_nats::ServerAddr;
use tidings_core::{
    BrokerError,
    url::{Query, Url},
    wire::decode_value,
};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 4222;

/// What a message looks like on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// CloudEvents attributes as NATS headers.
    CloudEvents,
    /// The body alone.
    Bare,
    /// The JSON object of go-micro's NATS plug-in.
    GoMicro,
}

/// How to reach the servers.
pub(crate) struct Connect {
    pub(crate) servers: Vec<ServerAddr>,
    /// The servers by name, without secrets, for errors and logs.
    pub(crate) label: String,
    pub(crate) login: Login,
    pub(crate) tls: Tls,
    pub(crate) authority: Option<PathBuf>,
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    pub(crate) inbox: Option<String>,
}

/// Who we are to the server.
pub(crate) enum Login {
    Nobody,
    Token(String),
    User(String, String),
    /// A file with a JWT and its key, as `nsc` writes it.
    Credentials(PathBuf),
}

/// When the connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    /// When the server asks for it.
    Asked,
    /// Always.
    Required,
    /// Before the server's first word (its `handshake_first`).
    First,
}

impl Connect {
    /// Takes what is about the connection from a URL.
    pub(crate) fn read(url: &Url, query: &mut Query<'_>) -> Result<Self, BrokerError> {
        let servers = servers(url, query)?;
        let named: Vec<_> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
        let certificate = match (query.text("certificate")?, query.text("key")?) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => return Err(query.error("`certificate` and `key` are files that go together: give both or none")),
        };
        const TLS: [(&str, Tls); 2] = [("required", Tls::Required), ("first", Tls::First)];
        Ok(Self {
            servers,
            label: format!("{}://{}", url.scheme(), named.join(",")),
            login: login(url, query)?,
            tls: query.one_of("tls", &TLS)?.unwrap_or(Tls::Asked),
            authority: query.text("ca")?.map(PathBuf::from),
            certificate,
            inbox: inbox(query)?,
        })
    }
}

/// The server in the URL's own place, and those of the setting `servers`.
fn servers(url: &Url, query: &mut Query<'_>) -> Result<Vec<ServerAddr>, BrokerError> {
    let host = url.host_str().filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST);
    let mut named = vec![format!("{host}:{}", url.port().unwrap_or(DEFAULT_PORT))];
    let others = query.text("servers")?.unwrap_or_default();
    named.extend(others.split(',').map(str::trim).filter(|server| !server.is_empty()).map(str::to_owned));
    named.iter().map(|server| address(server, query)).collect()
}

fn address(server: &str, query: &Query<'_>) -> Result<ServerAddr, BrokerError> {
    let wrong = || query.error("a server in the list is no `host:port`; user and password stand before the first server alone");
    let url = Url::parse(&format!("nats://{server}")).map_err(|_| wrong())?;
    let bare = url.username().is_empty() && url.password().is_none() && url.path().is_empty() && url.query().is_none();
    if !bare || url.host_str().is_none_or(str::is_empty) {
        return Err(wrong());
    }
    ServerAddr::from_url(url).map_err(|_| wrong())
}

fn login(url: &Url, query: &mut Query<'_>) -> Result<Login, BrokerError> {
    let user = decode_value(url.username()).into_owned();
    let password = url.password().map(|password| decode_value(password).into_owned());
    match (query.text("credentials")?, user, password) {
        (None, user, None) if user.is_empty() => Ok(Login::Nobody),
        (None, token, None) => Ok(Login::Token(token)),
        (None, user, Some(password)) if !user.is_empty() => Ok(Login::User(user, password)),
        (None, _, Some(_)) => Err(query.error("there is a password without a user: `user:password@host`, or `token@host`")),
        (Some(file), user, None) if user.is_empty() => Ok(Login::Credentials(file.into())),
        (Some(_), ..) => Err(query.error("`credentials` stands instead of a user, password or token: give one of them")),
    }
}

fn inbox(query: &mut Query<'_>) -> Result<Option<String>, BrokerError> {
    let Some(prefix) = query.text("inbox")? else { return Ok(None) };
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if !prefix.split('.').all(word) {
        return Err(
            query.error(format!("`inbox={prefix}` is not allowed: words of letters, digits, `-` and `_`, joined by dots"))
        );
    }
    Ok(Some(prefix))
}

/// Takes the setting `wire`, where the engine has only some of them.
pub(crate) fn wire(query: &mut Query<'_>, allowed: &[(&str, Wire)]) -> Result<Wire, BrokerError> {
    Ok(query.one_of("wire", allowed)?.unwrap_or(Wire::CloudEvents))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Connect, BrokerError> {
        let url = Url::parse(url).unwrap();
        let mut query = Query::of(&url);
        let connect = Connect::read(&url, &mut query)?;
        query.finish().map(|()| connect)
    }

    fn error(url: &str) -> String {
        read(url).err().unwrap().to_string()
    }

    #[test]
    fn servers_are_a_list_with_default_port_and_host() {
        let label = |url| read(url).unwrap().label;
        assert_eq!(label("nats://a"), "nats://a:4222");
        assert_eq!(label("nats://"), "nats://127.0.0.1:4222");
        assert_eq!(label("nats://u:p@a:1?servers=b:2,,c,%5B::1%5D:3"), "nats://a:1,b:2,c:4222,::1:3");
    }

    #[test]
    fn a_login_is_percent_decoded() {
        assert!(matches!(read("nats://h").unwrap().login, Login::Nobody));
        assert!(matches!(read("nats://s%40cret@h").unwrap().login, Login::Token(token) if token == "s@cret"));
        assert!(matches!(read("nats://me:a%2Fb%3A@h").unwrap().login, Login::User(user, word) if user == "me" && word == "a/b:"));
        assert!(matches!(read("nats://h?credentials=/x.creds").unwrap().login, Login::Credentials(_)));
    }

    #[test]
    fn what_does_not_fit_is_refused_without_the_secret() {
        for url in [
            "nats://me:hunter2@h?credentials=/x",
            "nats://:hunter2@h",
            "nats://h?servers=me:hunter2@b:1",
            "nats://hunter2@h?servers=b:99999",
            "nats://hunter2@h?tls=perhaps",
            "nats://hunter2@h?certificate=/c.pem",
            "nats://hunter2@h?inbox=a..b",
            "nats://hunter2@h?colour=red",
        ] {
            let error = error(url);
            assert!(!error.contains("hunter2"), "{error}");
        }
        assert!(error("nats://h?tls=perhaps").contains("required, first"));
        assert!(error("nats://h?colour=red").contains("servers, certificate, key, credentials, tls, ca, inbox"));
    }
}
