//! A `sqlite:` URL, read.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use tidings_core::{
    BrokerError, Source, Topic,
    url::{Query, Size, Time, Url},
};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Where the file is, and how much of what it keeps; the crate's page says what each stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    pub(crate) max_age: Duration,
    pub(crate) max_bytes: u64,
    pub(crate) letters_max_bytes: u64,
    pub(crate) max_message: usize,
    /// The longest time between two looks for what other processes wrote.
    pub(crate) poll: Duration,
    /// Where messages are from that are stored as their bodies alone, when they are.
    pub(crate) bare: Option<Source>,
}

impl Settings {
    pub(crate) fn read(url: &Url) -> Result<Self, BrokerError> {
        let mut query = Query::of(url);
        let settings = Self {
            path: path(url, &query)?,
            max_age: time(&mut query, "max_age", 7 * DAY, SECOND..=3650 * DAY)?,
            max_bytes: size(&mut query, "max_bytes", GIB, MIB..=TIB)?,
            letters_max_bytes: size(&mut query, "letters_max_bytes", GIB, MIB..=TIB)?,
            max_message: size(&mut query, "max_message", MIB, 16 * KIB..=64 * MIB)?.try_into().unwrap_or(usize::MAX),
            poll: time(&mut query, "poll", SECOND / 5, SECOND / 50..=10 * SECOND)?,
            bare: query
                .one_of("wire", &[("cloudevents", None), ("bare", Some("/sqlite"))])?
                .flatten()
                .map(Source::new)
                .transpose()?,
        };
        query.finish()?;
        Ok(settings)
    }

    /// The largest message on a topic, in bytes. An event leaves room so that its dead letter, with headers of its own, fits.
    pub(crate) fn largest(&self, topic: &Topic) -> usize {
        if topic.is_reserved() { self.max_message } else { self.largest_event() }
    }

    pub(crate) fn largest_event(&self) -> usize {
        const ROOM_FOR_A_LETTER: usize = 8 * 1024;
        self.max_message.saturating_sub(ROOM_FOR_A_LETTER)
    }
}

/// The file's path: what is written after `sqlite:`, percent-decoded.
fn path(url: &Url, query: &Query<'_>) -> Result<PathBuf, BrokerError> {
    const FORMS: &str = "write sqlite:data/broker.db or, from the root, sqlite:///var/lib/broker.db";
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err(query.error(format!("a file has no host; {FORMS}")));
    }
    if url.fragment().is_some() {
        return Err(query.error("a `#` in a file's name is written `%23`"));
    }
    let Ok(path) = percent_decode_str(url.path()).decode_utf8() else {
        return Err(query.error("the path is not UTF-8"));
    };
    // `sqlite:///C:/…` on Windows, where the first slash is the URL's.
    let path = if cfg!(windows) { path.trim_start_matches('/') } else { &*path };
    match path {
        "" | "/" => Err(query.error(format!("it names no file; {FORMS}"))),
        ":memory:" => Err(query.error("messages in memory are what the broker `memory:` is for")),
        path if path.contains('\0') => Err(query.error("a file's name has no NUL")),
        path => Ok(path.into()),
    }
}

fn size(query: &mut Query<'_>, name: &'static str, default: u64, allowed: RangeInclusive<u64>) -> Result<u64, BrokerError> {
    let size = query.size(name)?.unwrap_or(default);
    if allowed.contains(&size) {
        return Ok(size);
    }
    let [size, least, most] = [size, *allowed.start(), *allowed.end()].map(Size);
    Err(query.error(format!("`{name}={size}` is not allowed: from {least} to {most}")))
}

fn time(
    query: &mut Query<'_>,
    name: &'static str,
    default: Duration,
    allowed: RangeInclusive<Duration>,
) -> Result<Duration, BrokerError> {
    let time = query.duration(name)?.unwrap_or(default);
    if allowed.contains(&time) {
        return Ok(time);
    }
    let [time, least, most] = [time, *allowed.start(), *allowed.end()].map(Time);
    Err(query.error(format!("`{name}={time}` is not allowed: from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Settings, BrokerError> {
        Settings::read(&Url::parse(url).unwrap())
    }

    #[test]
    fn the_path_is_what_stands_after_the_scheme() {
        for (url, path) in [
            ("sqlite:data/broker.db", "data/broker.db"),
            ("sqlite:./broker.db", "./broker.db"),
            ("sqlite:/var/lib/broker.db", "/var/lib/broker.db"),
            ("sqlite:///var/lib/broker.db", "/var/lib/broker.db"),
            ("sqlite:my data/é%23%3F%2520.db", "my data/é#?%20.db"),
        ] {
            assert_eq!(read(url).unwrap().path, PathBuf::from(path), "{url}");
        }
    }

    #[test]
    fn a_url_that_names_no_file_says_how_one_is_named() {
        for (url, said) in [
            ("sqlite:", "names no file"),
            ("sqlite:///", "names no file"),
            ("sqlite:?max_age=1d", "names no file"),
            ("sqlite://data/broker.db", "sqlite:data/broker.db"),
            ("sqlite::memory:", "`memory:`"),
            ("sqlite:a#b", "`%23`"),
            ("sqlite:%ff", "UTF-8"),
            ("sqlite:a%00b", "NUL"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
    }

    #[test]
    fn settings_have_defaults_and_bounds() {
        let default = read("sqlite:a").unwrap();
        assert_eq!((default.max_age, default.max_bytes, default.max_message), (7 * DAY, GIB, 1 << 20));
        let set = read("sqlite:a?max_age=1h&max_bytes=2MiB&letters_max_bytes=3MiB&max_message=32KiB&poll=1s").unwrap();
        assert_eq!((set.max_age, set.poll), (3600 * SECOND, SECOND));
        assert_eq!((set.max_bytes, set.letters_max_bytes, set.largest_event()), (2 * MIB, 3 * MIB, 24 << 10));
        for (url, said) in [
            ("sqlite:a?max_age=0s", "from 1s to 3650d"),
            ("sqlite:a?max_bytes=5", "from 1MiB to 1024GiB"),
            ("sqlite:a?max_message=1GiB", "from 16KiB to 64MiB"),
            ("sqlite:a?poll=1ms", "from 20ms to 10s"),
            ("sqlite:a?mode=ro", "unknown setting `mode`"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
    }
}
