//! Reading a broker's URL: typed settings from the query, unknown ones refused, no secret shown.

use std::{fmt, str::FromStr, time::Duration};

pub use url::Url;

use crate::BrokerError;

/// A URL without its password, for logs and errors.
///
/// The user's name is left out with it: a NATS token stands in its place.
#[must_use]
pub fn redacted(url: &Url) -> String {
    // The last two are a login in a list of servers.
    const SECRET_SETTINGS: [&str; 5] = ["password", "token", "secret", "@", "%40"];
    let mut shown = url.clone();
    // Both calls fail only for URLs that cannot have either.
    let _ = shown.set_password(None);
    let _ = shown.set_username("");
    if SECRET_SETTINGS.iter().any(|name| url.query().is_some_and(|query| query.contains(name))) {
        shown.set_query(None);
    }
    shown.into()
}

/// Reads a URL. Of several servers, `nats://a:4222,b:4222`, the first stays and the others become the setting
/// `servers=b:4222`, since a URL has one host.
///
/// # Errors
/// When it is no URL; the error shows no password.
pub fn parse(text: &str) -> Result<Url, BrokerError> {
    let (scheme, rest) = text.split_once("://").unwrap_or((text, ""));
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (login, hosts) = authority.rsplit_once('@').map_or(("", authority), |(login, hosts)| (login, hosts));
    let mut servers = hosts.split(',').map(str::trim).filter(|server| !server.is_empty());
    let parsed = match (servers.next(), servers.collect::<Vec<_>>()) {
        (Some(first), others) if hosts.contains(',') => {
            let login = if login.is_empty() { String::new() } else { format!("{login}@") };
            Url::parse(&format!("{scheme}://{login}{first}{tail}")).map(|mut url| {
                if !others.is_empty() {
                    url.query_pairs_mut().append_pair("servers", &others.join(","));
                }
                url
            })
        }
        _ => Url::parse(text),
    };
    parsed.map_err(|error| {
        let shown = if login.is_empty() { text.to_owned() } else { format!("{scheme}://{hosts}{tail}") };
        BrokerError::Url { url: shown, reason: error.to_string() }
    })
}

/// The settings in a URL's query, taken one by one; what is left over is refused.
#[derive(Debug)]
pub struct Query<'a> {
    url: &'a Url,
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
}

impl<'a> Query<'a> {
    /// The settings of a URL.
    #[must_use]
    pub fn of(url: &'a Url) -> Self {
        let pairs = url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        Self { url, pairs, known: Vec::new() }
    }

    /// An error about this URL.
    #[must_use]
    pub fn error(&self, reason: impl Into<String>) -> BrokerError {
        BrokerError::Url { url: redacted(self.url), reason: reason.into() }
    }

    /// A setting as text.
    ///
    /// # Errors
    /// When it is given twice.
    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, BrokerError> {
        self.known.push(name);
        let Some(place) = self.pairs.iter().position(|(other, _)| other == name) else { return Ok(None) };
        let (_, value) = self.pairs.swap_remove(place);
        if self.pairs.iter().any(|(other, _)| other == name) {
            return Err(self.error(format!("`{name}` is given twice")));
        }
        Ok(Some(value))
    }

    /// A setting that parses; `allowed` says what does, for the error.
    ///
    /// # Errors
    /// When it does not parse, or is given twice.
    pub fn parsed<T: FromStr>(&mut self, name: &'static str, allowed: &str) -> Result<Option<T>, BrokerError> {
        let Some(value) = self.text(name)? else { return Ok(None) };
        value.parse().map(Some).map_err(|_| self.error(format!("`{name}={value}` is not allowed: {allowed}")))
    }

    /// A setting that is one of a few words.
    ///
    /// # Errors
    /// When it is another, or is given twice.
    pub fn one_of<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> Result<Option<T>, BrokerError> {
        let Some(value) = self.text(name)? else { return Ok(None) };
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| *word == value) {
            return Ok(Some(*chosen));
        }
        let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
        Err(self.error(format!("`{name}={value}` is not allowed: one of {}", words.join(", "))))
    }

    /// A setting that is a length of time: a number with `ms`, `s`, `m`, `h` or `d`.
    ///
    /// # Errors
    /// When it is no such time, or is given twice.
    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, BrokerError> {
        Ok(self.parsed::<Time>(name, &Time::allowed())?.map(|Time(time)| time))
    }

    /// A setting that is an amount of memory or disk in bytes: a number, or one with `KiB`, `MiB` or `GiB`.
    ///
    /// # Errors
    /// When it is no such amount, or is given twice.
    pub fn size(&mut self, name: &'static str) -> Result<Option<u64>, BrokerError> {
        Ok(self.parsed::<Size>(name, &InvalidSize.to_string())?.map(|Size(bytes)| bytes))
    }

    /// Refuses what nobody took.
    ///
    /// # Errors
    /// When a setting is left over; the error lists those that there are.
    pub fn finish(self) -> Result<(), BrokerError> {
        let Some((name, _)) = self.pairs.first() else { return Ok(()) };
        let known = if self.known.is_empty() { "none".to_owned() } else { self.known.join(", ") };
        Err(self.error(format!("unknown setting `{name}`; there are: {known}")))
    }
}

/// A length of time as settings write it: `250ms`, `30s`, `5m`, `24h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time(pub Duration);

/// A text that is no [`Time`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number with a unit: 250ms, 30s, 5m, 24h, 7d")]
pub struct InvalidTime;

impl Time {
    fn allowed() -> String {
        InvalidTime.to_string()
    }
}

impl FromStr for Time {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, InvalidTime> {
        let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidTime)?;
        let (number, unit) = text.split_at(unit);
        let number: u64 = number.parse().map_err(|_| InvalidTime)?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(InvalidTime),
        };
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or(InvalidTime)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")]
            .into_iter()
            .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{}{name}", ms / unit),
            None => write!(f, "{ms}ms"),
        }
    }
}

/// An amount of bytes as settings write it: `512`, `64KiB`, `16MiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// A text that is no [`Size`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a number of bytes, or one with a unit: 512, 64KiB, 16MiB, 1GiB")]
pub struct InvalidSize;

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let unit = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit);
        let number: u64 = number.parse().map_err(|_| InvalidSize)?;
        let bytes: u64 = match unit {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(InvalidSize),
        };
        number.checked_mul(bytes).map(Self).ok_or(InvalidSize)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
            .into_iter()
            .find(|(unit, _)| self.0 > 0 && self.0.is_multiple_of(*unit))
        {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_setting_is_refused_with_those_that_there_are() {
        let url = Url::parse("nats://user:hunter2@h:1/?wire=bare&wait=2s&colour=red").unwrap();
        let mut query = Query::of(&url);
        assert_eq!(query.one_of("wire", &[("bare", 1), ("ce", 2)]).unwrap(), Some(1));
        assert_eq!(query.duration("wait").unwrap(), Some(Duration::from_secs(2)));
        let error = query.finish().unwrap_err().to_string();
        assert!(error.contains("`colour`") && error.contains("wire, wait") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_bad_value_is_shown_with_what_is_allowed() {
        let url = Url::parse("x:?n=many&w=b&w=c&d=5").unwrap();
        let mut query = Query::of(&url);
        assert!(query.parsed::<u32>("n", "a number").unwrap_err().to_string().contains("`n=many` is not allowed: a number"));
        assert!(query.text("w").unwrap_err().to_string().contains("twice"));
        assert!(query.duration("d").unwrap_err().to_string().contains("30s"));
    }

    #[test]
    fn a_time_prints_as_it_is_written() {
        for text in ["250ms", "30s", "5m", "24h", "7d", "0ms"] {
            let shown = text.parse::<Time>().unwrap().to_string();
            assert_eq!(shown.parse::<Time>(), text.parse::<Time>());
        }
        for bad in ["", "5", "s", "-5s", "5 s", "99999999999999999999s", "18446744073709551615d"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_size_prints_as_it_is_written() {
        for text in ["0", "512", "1KiB", "64MiB", "1GiB"] {
            assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
        }
        for bad in ["", "MiB", "1 MiB", "1MB", "-1", "18446744073709551615GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_secret_is_shown() {
        for secret in ["nats://user:hunter2@h", "nats://hunter2@h", "nats://h?token=hunter2", "nats://h?servers=u:hunter2@b"] {
            let shown = redacted(&Url::parse(secret).unwrap());
            assert!(!shown.contains("hunter2") && shown.contains("//h"), "{shown}");
        }
        let error = parse("nats://user:hunter2@h:99999,b/?a=b").unwrap_err().to_string();
        assert!(parse("nats://user:hunter2@h:99999").is_err() && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn of_several_servers_the_others_become_a_setting() {
        let of = |text: &str| {
            let url = parse(text).unwrap();
            let servers = url.query_pairs().find(|(name, _)| name == "servers").map(|(_, value)| value.into_owned());
            (url.authority().to_owned(), url.path().to_owned(), servers.unwrap_or_default())
        };
        assert_eq!(of("nats://u:p@a:1,b:2,,c/S?wire=bare"), ("u:p@a:1".to_owned(), "/S".to_owned(), "b:2,c".to_owned()));
        assert_eq!(of("nats://a:1,"), ("a:1".to_owned(), String::new(), String::new()));
        assert_eq!(of("nats://a"), ("a".to_owned(), String::new(), String::new()));
        assert_eq!(parse("sqlite:a,b.db").unwrap().path(), "a,b.db");
        assert_eq!(parse("sqlite:///a,b.db").unwrap().path(), "/a,b.db");
    }
}
