//! A `memory:` URL, read.

use tidings_core::{
    BrokerError,
    url::{Query, Size, Url, redacted},
};

/// How much an in-process broker takes, from the query of its URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `max_messages`: the most messages that may wait for, or be in hand of, one subscription; 1 to 16,777,216, by default
    /// 65,536. Whoever publishes more waits.
    pub max_messages: usize,
    /// `max_bytes`: the same in bytes; by default 64 MiB.
    pub max_bytes: usize,
    /// `max_message`: the largest message, attributes and headers included; 16 KiB to 64 MiB, by default 1 MiB. An event
    /// leaves 8 KiB of it free, so that its dead letter, with headers of its own, fits too.
    pub max_message: usize,
    /// `wire=bare`: what is published arrives as its body alone, as it does over a server's `?wire=bare`; by default
    /// (`wire=cloudevents`) as it is.
    pub bare: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_messages: 65_536, max_bytes: 64 * MIB, max_message: MIB, bare: false }
    }
}

impl Settings {
    pub(crate) fn largest_event(&self) -> usize {
        const ROOM_FOR_A_LETTER: usize = 8 * 1024;
        self.max_message.saturating_sub(ROOM_FOR_A_LETTER)
    }
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Which broker of this process is meant, and how it is set.
pub(crate) fn read(url: &Url) -> Result<(String, Settings), BrokerError> {
    let mut query = Query::of(url);
    let name = url.path().to_owned();
    if url.has_host() || url.fragment().is_some() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err(
            query.error("an in-process broker is `memory:` or `memory:NAME` with a NAME of letters, digits, `-`, `_`, `.`")
        );
    }
    let default = Settings::default();
    let settings = Settings {
        max_messages: query.parsed("max_messages", "a number from 1 to 16777216")?.unwrap_or(default.max_messages),
        max_bytes: bytes(&mut query, "max_bytes", default.max_bytes, MIB..=usize::MAX)?,
        max_message: bytes(&mut query, "max_message", default.max_message, 16 * KIB..=64 * MIB)?,
        bare: query.one_of("wire", &[("cloudevents", false), ("bare", true)])?.unwrap_or(default.bare),
    };
    if !(1..=1 << 24).contains(&settings.max_messages) {
        return Err(query.error(format!("`max_messages={}` is not allowed: a number from 1 to 16777216", settings.max_messages)));
    }
    query.finish()?;
    Ok((name, settings))
}

fn bytes(
    query: &mut Query<'_>,
    name: &'static str,
    default: usize,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<usize, BrokerError> {
    let Some(given) = query.size(name)? else { return Ok(default) };
    usize::try_from(given).ok().filter(|bytes| allowed.contains(bytes)).ok_or_else(|| {
        let [least, most] = [allowed.start(), allowed.end()].map(|bytes| Size(*bytes as u64));
        query.error(format!("`{name}={}` is not allowed: from {least} to {most}", Size(given)))
    })
}

/// The error for a name that is in use with other settings.
pub(crate) fn conflict(url: &Url, there: Settings) -> BrokerError {
    let Settings { max_messages, max_bytes, max_message, bare } = there;
    let wire = if bare { "bare" } else { "cloudevents" };
    let [max_bytes, max_message] = [max_bytes, max_message].map(|bytes| Size(bytes as u64));
    BrokerError::Url {
        url: redacted(url),
        reason: format!(
            "this broker is open in this process with max_messages={max_messages}, max_bytes={max_bytes}, \
             max_message={max_message}, wire={wire}; use the same, or another name: memory:NAME"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(String, Settings), BrokerError> {
        super::read(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_url_names_the_broker_and_its_bounds() {
        assert_eq!(read("memory:").unwrap(), (String::new(), Settings::default()));
        let (name, settings) = read("memory:a-b?max_messages=10&max_bytes=1MiB&max_message=32KiB").unwrap();
        assert_eq!((name.as_str(), settings.max_messages, settings.max_bytes, settings.max_message), ("a-b", 10, MIB, 32 * KIB));
    }

    #[test]
    fn a_wrong_url_says_what_is_allowed() {
        for (url, said) in [
            ("memory://host", "memory:NAME"),
            ("memory:a/b", "memory:NAME"),
            ("memory:#a", "memory:NAME"),
            ("memory:?max_messages=0", "from 1 to"),
            ("memory:?max_messages=many", "`max_messages=many`"),
            ("memory:?max_message=1", "from 16KiB to 64MiB"),
            ("memory:?max_bytes=5", "`max_bytes=5`"),
            ("memory:?wire=go-micro", "`wire=go-micro`"),
            ("memory:?colour=red", "unknown setting `colour`"),
        ] {
            let error = read(url).unwrap_err().to_string();
            assert!(error.contains(said), "{url}: {error}");
        }
    }
}
