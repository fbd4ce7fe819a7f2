//! The values that settings have: how each kind is written, read and shown.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use tidings_core::url::{InvalidSize, InvalidTime, Size, Time, Url, parse, redacted};

/// What kind of value a setting has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Switch,
    Number,
    Size,
    Duration,
    Path,
    Url,
    Address,
    Choice(&'static [&'static str]),
}

/// A setting's value, read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Text, or one of a few words.
    Text(String),
    /// On or off.
    Switch(bool),
    /// A count, or an amount of bytes.
    Number(u64),
    /// A length of time.
    Duration(Duration),
    /// A file or folder.
    Path(PathBuf),
    /// A URL as it was written: what opens it knows its parts.
    Url(String),
    /// Where to listen.
    Address(Address),
}

/// The least or the most of a setting: a number, bytes, or a time in whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub(crate) u64);

impl From<u64> for Bound {
    fn from(number: u64) -> Self {
        Self(number)
    }
}

impl From<Duration> for Bound {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Where a setting lies; in milliseconds for a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Bounds {
    pub(crate) const NONE: Self = Self { least: 0, most: u64::MAX };
}

impl Kind {
    /// What stands for the value in the help.
    pub(crate) fn placeholder(self) -> &'static str {
        match self {
            Self::Text => "TEXT",
            Self::Switch => "true|false",
            Self::Number => "NUMBER",
            Self::Size => "BYTES",
            Self::Duration => "TIME",
            Self::Path => "PATH",
            Self::Url => "URL",
            Self::Address => "HOST:PORT",
            Self::Choice(_) => "WORD",
        }
    }

    /// What is allowed, in words that complete "not allowed: …".
    pub(crate) fn allowed(self, bounds: Bounds) -> String {
        let form = match self {
            Self::Text => "any text but an empty one".to_owned(),
            Self::Switch => "true or false".to_owned(),
            Self::Number => "a whole number".to_owned(),
            Self::Size => InvalidSize.to_string(),
            Self::Duration => InvalidTime.to_string(),
            Self::Path => "a path".to_owned(),
            Self::Url => "a URL, which begins with a scheme and a colon".to_owned(),
            Self::Address => InvalidAddress.to_string(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
        };
        self.range(bounds).map_or(form.clone(), |range| format!("{form}; {range}"))
    }

    /// The bounds in words, if there are any.
    pub(crate) fn range(self, bounds: Bounds) -> Option<String> {
        let shown = |n| match self {
            Self::Duration => Time(Duration::from_millis(n)).to_string(),
            Self::Size => Size(n).to_string(),
            _ => n.to_string(),
        };
        match bounds {
            Bounds::NONE => None,
            Bounds { least, most: u64::MAX } => Some(format!("at least {}", shown(least))),
            Bounds { least, most } => Some(format!("from {} to {}", shown(least), shown(most))),
        }
    }

    /// Reads a value; `None` when it is not allowed.
    pub(crate) fn read(self, text: &str, bounds: Bounds) -> Option<Value> {
        let within = |n: u64| (bounds.least..=bounds.most).contains(&n);
        match self {
            Self::Switch => text.parse().ok().map(Value::Switch),
            Self::Number => text.parse().ok().filter(|n| within(*n)).map(Value::Number),
            Self::Size => text.parse().ok().map(|Size(n)| n).filter(|n| within(*n)).map(Value::Number),
            Self::Duration => {
                let Time(time) = text.parse().ok()?;
                u64::try_from(time.as_millis()).is_ok_and(within).then_some(Value::Duration(time))
            }
            Self::Address => text.parse().ok().map(Value::Address),
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Url => has_scheme(text).then(|| Value::Url(text.to_owned())),
            Self::Text if !text.is_empty() => Some(Value::Text(text.to_owned())),
            Self::Path if !text.is_empty() => Some(Value::Path(text.into())),
            Self::Text | Self::Path => None,
        }
    }
}

/// Whether it begins as RFC 3986 says, section 3.1.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

/// A URL without its login, whether it parses or not.
pub(crate) fn shown_url(text: &str) -> String {
    if let Ok(url) = Url::parse(text)
        && !url.cannot_be_a_base()
        && url.scheme() != "file"
    {
        return redacted(&url);
    }
    let (place, query) = text.split_once('?').map_or((text, None), |(place, query)| (place, Some(query)));
    let shown = match (place.split_once("//"), place.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}//{host}"),
        (None, Some(_)) => "(not shown)".to_owned(),
        (_, None) => place.to_owned(),
    };
    match query {
        Some(query) if !["password", "token", "secret"].iter().any(|word| query.contains(word)) => format!("{shown}?{query}"),
        _ => shown,
    }
}

impl fmt::Display for Value {
    /// Without the login of a URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Switch(on) => on.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Duration(time) => Time(*time).fmt(f),
            Self::Path(path) => path.display().fmt(f),
            Self::Url(text) => f.write_str(&shown_url(text)),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Where to listen: a host, or every interface, and a port, of which 0 is any free one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    host: String,
    port: u16,
}

/// A text that is no [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HOST:PORT, or :PORT for every interface; port 0 takes a free one")]
pub struct InvalidAddress;

impl Address {
    /// The port; 0 is any free one.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host; `None` is every interface.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        Some(&*self.host).filter(|host| !host.is_empty())
    }
}

impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let (host, port) = text.rsplit_once(':').ok_or(InvalidAddress)?;
        let port = port.parse().map_err(|_| InvalidAddress)?;
        let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match inner {
            Some(address) => address.parse::<std::net::Ipv6Addr>().map_err(|_| InvalidAddress)?.to_string(),
            None if host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) => host.to_owned(),
            None => return Err(InvalidAddress),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What [`Settings::get`](super::Settings::get) reads a value as.
pub trait FromValue: Sized {
    /// Its name in errors, such as "a length of time".
    const WHAT: &'static str;
    /// The value, when it is of that kind; nothing when it is not set.
    fn from_value(value: Option<&Value>) -> Option<Self>;
}

macro_rules! from_value {
    ($($type:ty, $what:literal: $($pattern:pat => $value:expr),+;)+) => {$(
        impl FromValue for $type {
            const WHAT: &'static str = $what;
            fn from_value(value: Option<&Value>) -> Option<Self> {
                match value? {
                    $($pattern => $value,)+
                    _ => None,
                }
            }
        }
    )+};
}

from_value! {
    String, "text": Value::Text(text) | Value::Url(text) => Some(text.clone());
    bool, "a switch": Value::Switch(on) => Some(*on);
    u64, "a number": Value::Number(number) => Some(*number);
    u32, "a number below 2^32": Value::Number(number) => u32::try_from(*number).ok();
    u16, "a number below 2^16": Value::Number(number) => u16::try_from(*number).ok();
    usize, "a number": Value::Number(number) => usize::try_from(*number).ok();
    Duration, "a length of time": Value::Duration(time) => Some(*time);
    PathBuf, "a path": Value::Path(path) => Some(path.clone());
    Url, "a URL": Value::Url(text) => parse(text).ok();
    Address, "an address": Value::Address(address) => Some(address.clone());
}

impl<T: FromValue> FromValue for Option<T> {
    const WHAT: &'static str = T::WHAT;
    fn from_value(value: Option<&Value>) -> Option<Self> {
        match value {
            None => Some(None),
            Some(_) => T::from_value(value).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_reads_what_it_allows_and_nothing_else() {
        let within = Bounds { least: 2, most: 5_000 };
        for (kind, good, bad) in [
            (Kind::Text, &["x", "a b"][..], &[""][..]),
            (Kind::Switch, &["true", "false"], &["", "yes", "1", "True"]),
            (Kind::Number, &["2", "5000"], &["", "1", "5001", "-2", "2.5", "2k"]),
            (Kind::Size, &["2", "4KiB"], &["5KiB", "1MB", "x"]),
            (Kind::Duration, &["2ms", "5s"], &["1ms", "6s", "5", "soon"]),
            (Kind::Path, &["a/b", "C:\\x"], &[""]),
            (Kind::Url, &["sqlite:data/x.db", "nats://a:1,b:2", "memory:"], &["", "nats", ":x", "1a:x", "/a:b"]),
            (
                Kind::Address,
                &["127.0.0.1:0", ":50051", "[::1]:80", "localhost:1"],
                &["", "50051", "h:65536", "[x]:1", "::1:80", "h:", "a b:1"],
            ),
            (Kind::Choice(&["text", "json"]), &["text"], &["", "xml"]),
        ] {
            for text in good {
                assert!(kind.read(text, within).is_some(), "{kind:?} {text}");
            }
            for text in bad {
                assert!(kind.read(text, within).is_none(), "{kind:?} {text}");
            }
        }
    }

    #[test]
    fn what_is_allowed_is_said_with_its_unit() {
        let bounds = Bounds { least: 100, most: 60_000 };
        assert_eq!(Kind::Duration.allowed(bounds), "a number with a unit: 250ms, 30s, 5m, 24h, 7d; from 100ms to 1m");
        assert_eq!(Kind::Number.allowed(Bounds { least: 1, most: u64::MAX }), "a whole number; at least 1");
        assert_eq!(Kind::Choice(&["text", "json"]).allowed(Bounds::NONE), "one of text, json");
    }

    #[test]
    fn no_login_in_a_url_is_shown() {
        for (url, shown) in [
            ("postgres://me:hunter2@h:5/x", "postgres://h:5/x"),
            ("nats://hunter2@a:1,b:2", "nats://a:1,b:2"),
            ("nats://a:hunter2@h:1,b:hunter2@i:2?wire=bare", "nats://i:2?wire=bare"),
            ("smtp:hunter2@h", "(not shown)"),
            ("nats://a:1,b:2?token=hunter2", "nats://a:1,b:2"),
            ("sqlite:data/x.db", "sqlite:data/x.db"),
            ("file:data/mail", "file:data/mail"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }

    #[test]
    fn an_address_prints_as_it_is_written() {
        for text in ["127.0.0.1:0", ":50051", "[::1]:80", "localhost:1"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(":1".parse::<Address>().unwrap().host(), None);
    }
}
