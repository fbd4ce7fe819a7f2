//! The server's side of a subscription: a durable consumer that a group shares, or one that ends with its instance.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tidings_core::{
    BrokerError, Members, Start, Subscription, TopicPattern,
    wire::{parse_time, write_time},
};

use super::{
    api::{Config, ConsumerInfo, Failure, code},
    stream::{Spec, Streams, Words, differences, first_word, nanos},
};
use crate::names;

/// How long the server waits for a word about a delivery. Short, for after a broken connection an ordered subscription waits so long.
pub(super) const LEASE: Duration = Duration::from_secs(10);
/// How long we count on it: the server's clock began before the message came, and a word about one whose lease has just ended
/// would be taken for a word about its next delivery, so that it comes twice more.
pub(super) const OURS: Duration = LEASE.saturating_sub(Duration::from_secs(1));
/// Deliveries that a group may have in hand. With the server's own 1,000 a stuck instance starves the others; a number that
/// follows a setting would make the existing consumer one with other settings.
pub(super) const MAX_UNSETTLED: usize = 65_536;
/// How long the consumer of a single instance outlives its connection.
const LINGER: Duration = Duration::from_secs(60);

/// A consumer that is there.
pub(super) struct Consumer {
    streams: Arc<Streams>,
    pub(super) stream: String,
    config: Config,
    /// `None`: it belongs to this instance.
    durable: Option<String>,
    current: Mutex<Current>,
}

struct Current {
    name: String,
    /// The last message that this instance saw, by its number in the stream.
    seen: u64,
}

impl Consumer {
    /// Finds the group's consumer, or makes one; what the server says of it.
    pub(super) async fn open(streams: Arc<Streams>, subscription: &Subscription) -> Result<(Self, ConsumerInfo), BrokerError> {
        let pattern = &subscription.pattern;
        streams.cover(words(pattern)).await?;
        let durable = match subscription.members {
            Members::Share => Some(names::of(&subscription.group, pattern)),
            Members::Each => None,
        };
        let consumer = Self {
            stream: streams.of(pattern).name.clone(),
            config: config(durable.as_deref(), pattern, subscription.start)?,
            current: Mutex::new(Current { name: String::new(), seen: 0 }),
            durable,
            streams,
        };
        let info = consumer.find_or_make().await?;
        consumer.lock(|current| current.seen = info.delivered.stream_seq);
        Ok((consumer, info))
    }

    async fn find_or_make(&self) -> Result<ConsumerInfo, BrokerError> {
        let api = &self.streams.api;
        let found = match &self.durable {
            Some(name) => match api.consumer(&self.stream, name).await {
                Err(failure) if failure.is(code::CONSUMER_NOT_FOUND) => self.make(self.config.clone()).await,
                found => found,
            },
            None => self.make(self.config.clone()).await,
        };
        let info = found.map_err(|failure| self.failed(failure))?;
        // Where it began matters no more once it is there.
        let mut wanted = self.config.clone();
        wanted.retain(|name, _| !matches!(name.as_str(), "deliver_policy" | "opt_start_time"));
        let differences = differences(&wanted, &info.config);
        if !differences.is_empty() {
            return Err(api.connection.refused(format!(
                "consumer {} of stream {} exists with other settings: {}; delete it to begin anew, or use another group",
                info.name,
                self.stream,
                differences.join(", ")
            )));
        }
        self.lock(|current| current.name.clone_from(&info.name));
        Ok(info)
    }

    async fn make(&self, config: Config) -> Result<ConsumerInfo, Failure> {
        self.streams.api.create_consumer(&self.stream, self.durable.as_deref(), config).await
    }

    /// Looks after a consumer that does not answer: one of this instance alone is made again behind what it has seen.
    ///
    /// # Errors
    /// When a group's consumer was deleted: a new one would begin with everything that is kept.
    pub(super) async fn revive(&self) -> Result<(), BrokerError> {
        let failure = match self.info().await {
            Ok(_) => return Ok(()),
            Err(failure) => failure,
        };
        if !failure.is(code::CONSUMER_NOT_FOUND) {
            return if matches!(failure, Failure::Broker(_)) { Ok(()) } else { Err(self.failed(failure)) };
        }
        if let Some(name) = &self.durable {
            let reason = format!("consumer {name} of stream {} was deleted: a restart makes it anew", self.stream);
            return Err(self.streams.api.connection.refused(reason));
        }
        let mut config = self.config.clone();
        let seen = self.lock(|current| current.seen);
        config.insert("deliver_policy".to_owned(), json!("by_start_sequence"));
        config.insert("opt_start_seq".to_owned(), json!(seen + 1));
        match self.make(config).await {
            Ok(info) => {
                self.lock(|current| current.name = info.name);
                Ok(())
            }
            Err(Failure::Broker(_)) => Ok(()),
            Err(failure) => Err(self.failed(failure)),
        }
    }

    pub(super) async fn info(&self) -> Result<ConsumerInfo, Failure> {
        let name = self.lock(|current| current.name.clone());
        self.streams.api.consumer(&self.stream, &name).await
    }

    /// Takes away what belongs to this instance.
    pub(super) async fn end(&self) -> Result<(), BrokerError> {
        if self.durable.is_some() {
            return Ok(());
        }
        let name = self.lock(|current| current.name.clone());
        match self.streams.api.delete_consumer(&self.stream, &name).await {
            Err(failure) if !failure.is(code::CONSUMER_NOT_FOUND) => Err(self.failed(failure)),
            _ => Ok(()),
        }
    }

    pub(super) fn next_subject(&self) -> String {
        self.lock(|current| self.streams.api.next_subject(&self.stream, &current.name))
    }

    pub(super) fn saw(&self, sequence: u64) {
        self.lock(|current| current.seen = current.seen.max(sequence));
    }

    /// Messages that may have gone by their age while the group was away: an upper bound, for others' topics count too.
    pub(super) async fn expired(&self, info: &ConsumerInfo) -> u64 {
        let spec = self.spec();
        let last = info.delivered.last_active.as_deref().and_then(parse_time);
        let away = last.and_then(|last| SystemTime::now().duration_since(last).ok());
        if self.durable.is_none() || spec.max_age.is_zero() || away.is_none_or(|away| away < spec.max_age) {
            return 0;
        }
        let Ok(stream) = self.streams.api.stream(&self.stream).await else { return 0 };
        let gone = stream.state.first_seq.saturating_sub(info.delivered.stream_seq + 1);
        if gone > 0 {
            tracing::warn!(
                at_most = gone,
                consumer = info.name,
                max_age = ?spec.max_age,
                "the group was away for longer than messages are kept, and may have missed some"
            );
        }
        gone
    }

    fn spec(&self) -> &Spec {
        if self.stream == self.streams.main.name { &self.streams.main } else { &self.streams.letters }
    }

    fn failed(&self, failure: Failure) -> BrokerError {
        let name = self.durable.as_deref().unwrap_or("of this instance");
        failure.about(&format!("consumer {name} of stream {}", self.stream), &self.streams.api.connection)
    }

    fn lock<T>(&self, with: impl FnOnce(&mut Current) -> T) -> T {
        with(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the stream must take for the pattern; a wildcard in first place reads whatever is there.
fn words(pattern: &TopicPattern) -> Words<'_> {
    match first_word(pattern.as_str()) {
        "*" | ">" => Words::new(),
        word => Words::from([(word, word.len() == pattern.as_str().len())]),
    }
}

/// What the server sifts by. It refuses what its stream does not have, so a wildcard in first place is sifted here.
fn filter(pattern: &TopicPattern) -> &str {
    if matches!(first_word(pattern.as_str()), "*" | ">") { "" } else { pattern.as_str() }
}

fn config(durable: Option<&str>, pattern: &TopicPattern, start: Option<Start>) -> Result<Config, BrokerError> {
    let mut config = vec![
        ("ack_policy", json!("explicit")),
        ("ack_wait", json!(nanos(LEASE))),
        ("max_deliver", json!(-1)),
        ("max_ack_pending", json!(MAX_UNSETTLED)),
        ("replay_policy", json!("instant")),
        ("filter_subject", json!(filter(pattern))),
    ];
    match (durable, start) {
        (Some(name), start) => {
            config.push(("durable_name", json!(name)));
            config.extend(beginning(start));
        }
        (None, None | Some(Start::Now)) => {
            config.push(("inactive_threshold", json!(nanos(LINGER))));
            config.push(("deliver_policy", json!("new")));
        }
        (None, Some(_)) => {
            return Err(BrokerError::Unsupported {
                broker: "jetstream",
                capability: "begin in the past for each instance",
                instead: "give it a group of its own, or `Start::Now`",
            });
        }
    }
    Ok(config.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn beginning(start: Option<Start>) -> Vec<(&'static str, Value)> {
    match start {
        None | Some(Start::First) => vec![("deliver_policy", json!("all"))],
        Some(Start::Now) => vec![("deliver_policy", json!("new"))],
        Some(Start::At(time)) => {
            let time = write_time(time, &mut [0; 40]).to_owned();
            vec![("deliver_policy", json!("by_start_time")), ("opt_start_time", json!(time))]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    #[test]
    fn a_wildcard_in_first_place_is_sifted_here() {
        assert_eq!(filter(&pattern("*.created")), "");
        assert_eq!(filter(&pattern(">")), "");
        assert_eq!(filter(&pattern("user.*")), "user.*");
        assert!(words(&pattern("*.created")).is_empty());
        assert_eq!(words(&pattern("user.*")), Words::from([("user", false)]));
        assert_eq!(words(&pattern("user")), Words::from([("user", true)]));
    }

    #[test]
    fn where_a_group_begins_is_said_to_the_server() {
        let of = |durable, start| config(durable, &pattern("a.b"), start);
        assert_eq!(of(Some("g"), None).unwrap()["deliver_policy"], "all");
        assert_eq!(of(Some("g"), Some(Start::Now)).unwrap()["deliver_policy"], "new");
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(of(Some("g"), Some(Start::At(time))).unwrap()["opt_start_time"], "2027-01-15T08:00:00Z");
        assert_eq!(of(None, None).unwrap()["deliver_policy"], "new");
        assert!(of(None, Some(Start::First)).is_err());
    }
}
