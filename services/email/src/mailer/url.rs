//! The URL of `--mail`, read once and checked whole.

use std::fs;
use std::path::PathBuf;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

use super::error::MailUrlError;

/// Where mails go.
#[derive(Debug)]
pub(super) enum Target {
    Folder(PathBuf),
    Server(Box<Server>),
}

/// A mail server and how to speak to it. Its `Debug` shows no login: that of `Credentials` is empty.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encryption: Encryption,
    pub(super) login: Option<Credentials>,
}

/// When the connection is encrypted.
#[derive(Debug)]
pub(super) enum Encryption {
    /// Never.
    Off,
    /// With STARTTLS when the server offers it.
    Offered(Tls),
    /// With STARTTLS, or no mail goes.
    Required(Tls),
    /// From the first byte.
    Wrapped(Tls),
}

/// The certificates to trust.
pub(super) struct Tls(pub(super) TlsParameters);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Target {
    pub(super) fn parse(text: &str) -> Result<Self, MailUrlError> {
        if let Some(folder) = text.strip_prefix("file:") {
            let folder = folder.strip_prefix("//").unwrap_or(folder);
            return match folder.is_empty() {
                true => Err(wrong("names no folder")),
                false => Ok(Self::Folder(PathBuf::from(folder))),
            };
        }
        let url = Url::parse(text).map_err(|error| wrong(&format!("is no URL ({error})")))?;
        Server::parse(&url).map(|server| Self::Server(Box::new(server)))
    }
}

impl Server {
    fn parse(url: &Url) -> Result<Self, MailUrlError> {
        if !matches!(url.scheme(), "smtp" | "smtps") {
            return Err(wrong(&format!("has the unknown scheme `{}`", url.scheme())));
        }
        if !matches!(url.path(), "" | "/") || url.fragment().is_some() {
            return Err(wrong("has something between the host and the settings"));
        }
        let host = match url.host() {
            Some(Host::Domain(domain)) => domain.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => String::new(),
        };
        if host.is_empty() {
            return Err(wrong("names no host"));
        }
        let (port, encryption) = encryption(url, &host)?;
        Ok(Self { port: url.port().unwrap_or(port), encryption, login: login(url)?, host })
    }

    /// Host and port, for messages.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Whether what is sent to it stays on this machine.
    pub(super) fn is_here(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }
}

fn login(url: &Url) -> Result<Option<Credentials>, MailUrlError> {
    let decoded = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(String::from)
            .map_err(|_| wrong("has a login that is not UTF-8 when its percent signs are decoded"))
    };
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        (user, Some(password)) if !user.is_empty() => Ok(Some(Credentials::new(decoded(user)?, decoded(password)?))),
        _ => Err(wrong("has only one of user and password")),
    }
}

fn encryption(url: &Url, host: &str) -> Result<(u16, Encryption), MailUrlError> {
    let (mut tls, mut authority) = (None, None);
    for (name, value) in url.query_pairs() {
        match &*name {
            "tls" if tls.is_none() => tls = Some(value.into_owned()),
            "ca" if authority.is_none() => authority = Some(PathBuf::from(&*value)),
            "tls" | "ca" => return Err(wrong(&format!("has `{name}` twice"))),
            other => return Err(wrong(&format!("has the unknown setting `{other}`"))),
        }
    }
    let trust = || tls_for(host, authority);
    match (url.scheme(), tls.as_deref()) {
        ("smtps", None) => Ok((465, Encryption::Wrapped(trust()?))),
        ("smtps", Some(_)) => Err(wrong("has `tls`, which smtps:// does not need")),
        (_, None) => Ok((25, Encryption::Offered(trust()?))),
        (_, Some("required")) => Ok((25, Encryption::Required(trust()?))),
        (_, Some("off")) => Ok((25, Encryption::Off)),
        (_, Some(other)) => Err(wrong(&format!("has tls={other}, which is not `required` or `off`"))),
    }
}

fn tls_for(host: &str, authority: Option<PathBuf>) -> Result<Tls, MailUrlError> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(path) = authority {
        let pem = fs::read(&path).map_err(|source| MailUrlError::Authority { path, source })?;
        tls = tls.add_root_certificate(Certificate::from_pem(&pem).map_err(MailUrlError::Tls)?);
    }
    tls.build().map(Tls).map_err(MailUrlError::Tls)
}

fn wrong(what: &str) -> MailUrlError {
    MailUrlError::Url(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        match Target::parse(url).unwrap() {
            Target::Server(server) => *server,
            Target::Folder(folder) => panic!("{folder:?}"),
        }
    }

    #[test]
    fn a_folder_is_a_path_relative_or_not() {
        for (url, path) in [("file:data/mail", "data/mail"), ("file:/var/mail", "/var/mail"), ("file:///var/mail", "/var/mail")] {
            assert!(matches!(Target::parse(url).unwrap(), Target::Folder(folder) if folder.as_os_str() == path), "{url}");
        }
    }

    #[test]
    fn the_scheme_and_tls_choose_port_and_encryption() {
        assert!(matches!(server("smtp://mx"), Server { port: 25, encryption: Encryption::Offered(_), login: None, .. }));
        assert!(matches!(server("smtp://mx:587/?tls=required"), Server { port: 587, encryption: Encryption::Required(_), .. }));
        assert!(matches!(server("smtp://mx?tls=off"), Server { port: 25, encryption: Encryption::Off, .. }));
        assert!(matches!(server("smtps://mx"), Server { port: 465, encryption: Encryption::Wrapped(_), .. }));
        assert_eq!(server("smtp://[::1]:2525").host, "::1");
    }

    #[test]
    fn a_login_is_percent_decoded_and_never_shown() {
        let server = server("smtp://ada%40example.com:p%3Aw%2Fd%20@mx");
        assert_eq!(server.login, Some(Credentials::new("ada@example.com".to_owned(), "p:w/d ".to_owned())));
        let shown = format!("{server:?}");
        assert!(!shown.contains("ada") && !shown.contains("p:w"), "{shown}");
    }

    #[test]
    fn a_wrong_url_says_what_is_wrong_and_quotes_no_login() {
        for (url, says) in [
            ("file:", "names no folder"),
            ("mx.example.com", "is no URL"),
            ("imap://ada:secret@mx", "unknown scheme `imap`"),
            ("smtp://ada:secret@", "is no URL"),
            ("smtp://ada@mx", "only one of user and password"),
            ("smtp://:secret@mx", "only one of user and password"),
            ("smtp://ada:secret%ff@mx", "not UTF-8"),
            ("smtp://ada:secret@mx/inbox", "between the host and the settings"),
            ("smtp://ada:secret@mx?tls=always", "tls=always"),
            ("smtp://ada:secret@mx?pool=3", "unknown setting `pool`"),
            ("smtp://ada:secret@mx?tls=off&tls=required", "`tls` twice"),
            ("smtps://ada:secret@mx?tls=off", "smtps:// does not need"),
            ("smtp://ada:secret@mx?ca=/nowhere/ca.pem", "\"/nowhere/ca.pem\" that ca= in --mail names"),
        ] {
            let error = Target::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
