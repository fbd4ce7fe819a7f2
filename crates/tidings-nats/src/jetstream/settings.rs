//! What a `jetstream://` URL says beyond the connection: the stream, and how it is published to.

use std::{ops::RangeInclusive, str::FromStr, time::Duration};

use tidings_core::{
    BrokerError,
    url::{Query, Url},
};

use crate::settings::{Connect, Wire, wire};

const WIRES: [(&str, Wire); 2] = [("cloudevents", Wire::CloudEvents), ("bare", Wire::Bare)];
const DEFAULT_STREAM: &str = "TIDINGS";
/// The longest name that the server takes is 255 bytes, and ours gets `-LETTERS` behind it.
const LONGEST_STREAM: usize = 128;
const DAY: Duration = Duration::from_secs(24 * 3600);
const GIB: u64 = 1 << 30;

pub(super) struct Settings {
    pub(super) domain: Option<String>,
    pub(super) wire: Wire,
    pub(super) stream: String,
    pub(super) max_age: Duration,
    pub(super) max_bytes: u64,
    pub(super) letters_max_bytes: u64,
    pub(super) replicas: u8,
    /// How long the server remembers a message by its id.
    pub(super) duplicates: Duration,
    /// How long an acknowledgement may take.
    pub(super) timeout: Duration,
    /// How many acknowledgements may be outstanding.
    pub(super) window: usize,
}

impl Settings {
    pub(super) fn read(url: &Url) -> Result<(Connect, Self), BrokerError> {
        let mut query = Query::of(url);
        let connect = Connect::read(url, &mut query)?;
        let settings = Self {
            domain: domain(&mut query)?,
            wire: wire(&mut query, &WIRES)?,
            stream: stream(url, &query)?,
            max_age: query.duration("max_age")?.unwrap_or(7 * DAY),
            max_bytes: query.size("max_bytes")?.unwrap_or(GIB),
            letters_max_bytes: query.size("letters_max_bytes")?.unwrap_or(GIB),
            replicas: within(&mut query, "replicas", 1..=5)?.unwrap_or(1),
            duplicates: query.duration("duplicates")?.unwrap_or(Duration::from_secs(120)),
            timeout: query.duration("timeout")?.unwrap_or(Duration::from_secs(3)),
            window: within(&mut query, "window", 1..=16_384)?.unwrap_or(1024),
        };
        settings.check(&query)?;
        query.finish()?;
        Ok((connect, settings))
    }

    fn check(&self, query: &Query<'_>) -> Result<(), BrokerError> {
        const SHORTEST: Duration = Duration::from_millis(100);
        for (name, time) in [("max_age", self.max_age), ("duplicates", self.duplicates), ("timeout", self.timeout)] {
            if time < SHORTEST {
                return Err(query.error(format!("`{name}` is too short: 100ms or more")));
            }
        }
        if self.duplicates > self.max_age {
            return Err(query.error("`duplicates` is longer than `max_age`: a message is not remembered when it is gone"));
        }
        // What the server takes in nanoseconds, and in a signed number.
        let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
        if self.max_age.as_nanos() > u128::from(most) || self.max_bytes > most || self.letters_max_bytes > most {
            return Err(query.error("`max_age`, `max_bytes` or `letters_max_bytes` is more than the server can count"));
        }
        Ok(())
    }
}

fn stream(url: &Url, query: &Query<'_>) -> Result<String, BrokerError> {
    let name = match url.path().trim_start_matches('/') {
        "" => DEFAULT_STREAM,
        name => name,
    };
    if name.len() > LONGEST_STREAM || !is_word(name) {
        return Err(query.error(format!("stream name `{name}` is not allowed: 1 to 128 letters, digits, `-` and `_`")));
    }
    Ok(name.to_owned())
}

fn domain(query: &mut Query<'_>) -> Result<Option<String>, BrokerError> {
    match query.text("domain")? {
        Some(name) if !is_word(&name) => {
            Err(query.error(format!("`domain={name}` is not allowed: letters, digits, `-` and `_`")))
        }
        domain => Ok(domain),
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn within<T>(query: &mut Query<'_>, name: &'static str, allowed: RangeInclusive<T>) -> Result<Option<T>, BrokerError>
where
    T: FromStr + PartialOrd + std::fmt::Display,
{
    let rule = format!("a number from {} to {}", allowed.start(), allowed.end());
    match query.parsed::<T>(name, &rule)? {
        Some(value) if !allowed.contains(&value) => Err(query.error(format!("`{name}={value}` is not allowed: {rule}"))),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<Settings, BrokerError> {
        Settings::read(&Url::parse(url).unwrap()).map(|(_, settings)| settings)
    }

    #[test]
    fn the_path_is_the_streams_name() {
        assert_eq!(read("jetstream://h").unwrap().stream, "TIDINGS");
        assert_eq!(read("jetstream://h/").unwrap().stream, "TIDINGS");
        assert_eq!(read("jetstream://h/ORDERS_2").unwrap().stream, "ORDERS_2");
        for bad in ["a.b", "a/b", "a%20b", "*", &"x".repeat(129)] {
            let error = read(&format!("jetstream://h/{bad}")).err().unwrap().to_string();
            assert!(error.contains("stream name"), "{error}");
        }
    }

    #[test]
    fn settings_have_bounds_and_defaults() {
        let settings = read("jetstream://h?max_age=1d&max_bytes=64MiB&replicas=3").unwrap();
        assert_eq!((settings.max_age, settings.max_bytes, settings.replicas, settings.window), (DAY, 64 << 20, 3, 1024));
        for bad in [
            "replicas=6",
            "replicas=0",
            "window=0",
            "timeout=0s",
            "max_age=1m",
            "max_age=200000d",
            "max_bytes=many",
            "wire=go-micro",
            "domain=a.b",
            "colour=red",
        ] {
            assert!(read(&format!("jetstream://h?{bad}")).is_err(), "{bad}");
        }
        assert!(read("jetstream://h?wire=go-micro").err().unwrap().to_string().contains("cloudevents, bare"));
    }
}
