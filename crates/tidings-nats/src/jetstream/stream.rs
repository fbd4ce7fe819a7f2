//! The two streams: made or checked at start, subjects added as they are needed.
//!
//! Events are in one, as `<first word>.>`; dead letters and replays in the second, `<name>-LETTERS`, without an age, so that
//! they stay until someone drops them, fit in when the first is full, and are seen by no wildcard.

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{PoisonError, RwLock},
    time::Duration,
};

use serde_json::{Value, json};
use tidings_core::{
    BrokerError, TopicPattern,
    url::{Size, Time},
};

use tokio::{sync::Semaphore, time::sleep};

use super::{
    api::{Api, Config, StreamInfo, code},
    settings::Settings,
};

/// Somebody else may add subjects at the same time, and an update replaces the list.
const TRIES: u32 = 8;

pub(super) struct Streams {
    pub(super) api: Api,
    pub(super) main: Spec,
    pub(super) letters: Spec,
    /// First words that the main stream takes, as found; whether it takes the word alone too.
    known: RwLock<HashMap<Box<str>, bool>>,
    changing: Semaphore,
}

/// First words of topics, and whether the word alone is one of the topics.
pub(super) type Words<'a> = BTreeMap<&'a str, bool>;

/// What a look at the stream's subjects found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Covered {
    /// All were listed.
    Already,
    /// Some had to be added.
    Added,
}

/// What a stream is to be like.
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) max_age: Duration,
    pub(super) max_bytes: u64,
    config: Config,
}

impl Streams {
    /// Makes the streams, or checks those that are there.
    pub(super) async fn open(api: Api, settings: &Settings) -> Result<Self, BrokerError> {
        let main = Spec::new(settings.stream.clone(), settings.max_age, settings.max_bytes, &[], settings);
        let name = format!("{}-LETTERS", settings.stream);
        let letters = Spec::new(name, Duration::ZERO, settings.letters_max_bytes, &["dead.>", "again.>"], settings);
        let streams = Self { api, main, letters, known: RwLock::default(), changing: Semaphore::new(1) };
        for spec in [&streams.main, &streams.letters] {
            let there = streams.make(spec).await?;
            streams.check(spec, &there)?;
        }
        Ok(streams)
    }

    /// The stream that topics of this pattern are in.
    pub(super) fn of(&self, pattern: &TopicPattern) -> &Spec {
        if is_letters(first_word(pattern.as_str())) { &self.letters } else { &self.main }
    }

    /// Whether the streams are known to take a topic.
    pub(super) fn know(&self, topic: &str) -> bool {
        let word = first_word(topic);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        is_letters(word) || known.get(word).is_some_and(|&alone| alone || word.len() < topic.len())
    }

    /// Looks, and sees to it, that the streams take these: before the first of them, and when somebody's update undid it.
    pub(super) async fn cover(&self, mut words: Words<'_>) -> Result<Covered, BrokerError> {
        let all = words.len();
        words.retain(|word, _| !is_letters(word));
        if words.len() < all {
            self.make(&self.letters).await?;
        }
        if words.is_empty() {
            return Ok(Covered::Already);
        }
        // Those of this process need not undo each other. It is never closed.
        let _one_at_a_time = self.changing.acquire().await;
        let mut covered = Covered::Already;
        for attempt in 0..TRIES {
            let info = self.make(&self.main).await?;
            let mut subjects = subjects(&info.config);
            if !add(&mut subjects, &words) {
                self.remember(&words);
                return Ok(covered);
            }
            covered = Covered::Added;
            self.update(info.config, subjects).await?;
            sleep(jittered(Duration::from_millis(1 << attempt))).await;
        }
        Err(self.api.connection.unavailable(format!("others change the subjects of stream {} all the time", self.main.name)))
    }

    /// Takes the subjects of these away, for the server lists them and does not listen to them: they are to be added again.
    pub(super) async fn withdraw(&self, words: &Words<'_>) -> Result<(), BrokerError> {
        let _one_at_a_time = self.changing.acquire().await;
        let info = self.make(&self.main).await?;
        let mut left = subjects(&info.config);
        left.retain(|there| !wanted(words).any(|wanted| wanted == *there));
        self.update(info.config, left).await
    }

    /// Looks again before the next publish.
    pub(super) fn forget(&self) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn remember(&self, words: &Words<'_>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for (&word, &alone) in words {
            *known.entry(word.into()).or_default() |= alone;
        }
    }

    async fn update(&self, mut config: Config, subjects: Vec<String>) -> Result<(), BrokerError> {
        let name = &self.main.name;
        let listed = subjects.join(", ");
        config.insert("subjects".to_owned(), subjects.into());
        match self.api.update_stream(name, &config).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is(code::SUBJECTS_OVERLAP) => Err(self.api.connection.refused(format!(
                "another stream takes some of the subjects {listed} that stream {name} is to take: remove them there, or name \
                 that stream in the URL, jetstream://host/NAME"
            ))),
            Err(failure) => Err(failure.about(&format!("subjects of stream {name}"), &self.api.connection)),
        }
    }

    /// The stream as it is, made if it is not there.
    async fn make(&self, spec: &Spec) -> Result<StreamInfo, BrokerError> {
        let what = format!("stream {}", spec.name);
        let info = match self.api.stream(&spec.name).await {
            Err(failure) if failure.is(code::STREAM_NOT_FOUND) => match self.api.create_stream(&spec.name, &spec.config).await {
                // Somebody else may have been faster: a server in the midst of making the same stream calls it an overlap.
                Err(failure) if failure.is(code::STREAM_NAME_IN_USE) || failure.is(code::SUBJECTS_OVERLAP) => {
                    self.api.stream(&spec.name).await.map_err(|_| failure)
                }
                made => made,
            },
            there => there,
        };
        info.map_err(|failure| failure.about(&what, &self.api.connection))
    }

    /// Only at start: an operator who raises a limit must not stop who publishes.
    fn check(&self, spec: &Spec, there: &StreamInfo) -> Result<(), BrokerError> {
        let differences = differences(&spec.config, &there.config);
        if differences.is_empty() {
            return Ok(());
        }
        Err(self.api.connection.refused(format!(
            "stream {} exists with other settings: {}; say so in the URL, or change the stream",
            spec.name,
            differences.join(", ")
        )))
    }
}

impl Spec {
    /// How long messages stay; a stream without an age keeps them for ever.
    pub(super) fn retention(&self) -> Duration {
        if self.max_age.is_zero() { Duration::MAX } else { self.max_age }
    }

    fn new(name: String, max_age: Duration, max_bytes: u64, subjects: &[&str], settings: &Settings) -> Self {
        let config = [
            ("name", json!(name)),
            ("subjects", json!(subjects)),
            ("retention", json!("limits")),
            ("storage", json!("file")),
            // With `old` acknowledged messages would vanish when it is full.
            ("discard", json!("new")),
            ("max_age", json!(nanos(max_age))),
            ("max_bytes", json!(max_bytes)),
            ("max_msgs", json!(-1)),
            ("max_msgs_per_subject", json!(-1)),
            ("max_msg_size", json!(-1)),
            ("max_consumers", json!(-1)),
            ("num_replicas", json!(settings.replicas)),
            ("duplicate_window", json!(nanos(settings.duplicates))),
            ("no_ack", json!(false)),
        ];
        let config = config.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Self { name, max_age, max_bytes, config }
    }
}

/// A random part of `most`, so that those who fail together do not try again together.
pub(super) fn jittered(most: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) >> 32;
    most.mul_f64(random as f64 / f64::from(u32::MAX))
}

pub(super) fn first_word(topic: &str) -> &str {
    topic.split('.').next().unwrap_or_default()
}

fn is_letters(word: &str) -> bool {
    matches!(word, "dead" | "again")
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where what is there differs from what is wanted; subjects aside, which only grow.
pub(super) fn differences(wanted: &Config, there: &Config) -> Vec<String> {
    let others = wanted.iter().filter(|(name, _)| *name != "subjects");
    others
        .filter_map(|(name, wanted)| {
            let found = there.get(name).unwrap_or(&Value::Null);
            // The server leaves out what is nothing.
            let same = found == wanted || (found.is_null() && [json!(false), json!(0), json!("")].contains(wanted));
            (!same).then(|| format!("`{name}` is {}, not {}", shown(name, found), shown(name, wanted)))
        })
        .collect()
}

/// A value as the URL writes it.
fn shown(name: &str, value: &Value) -> String {
    match (name, value.as_u64()) {
        ("max_age" | "duplicate_window" | "ack_wait", Some(nanos)) => Time(Duration::from_nanos(nanos)).to_string(),
        ("max_bytes", Some(bytes)) => Size(bytes).to_string(),
        _ => value.to_string(),
    }
}

fn subjects(config: &Config) -> Vec<String> {
    let listed = config.get("subjects").and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The subjects that these need.
fn wanted(words: &Words<'_>) -> impl Iterator<Item = String> {
    words.iter().flat_map(|(word, &alone)| alone.then(|| (*word).to_owned()).into_iter().chain([format!("{word}.>")]))
}

/// Adds what these need; whether anything was missing. What a new subject covers goes, for the server wants no overlap.
fn add(subjects: &mut Vec<String>, words: &Words<'_>) -> bool {
    let mut missing = false;
    for wanted in wanted(words) {
        if !subjects.iter().any(|there| covers(there, &wanted)) {
            subjects.retain(|there| !covers(&wanted, there));
            subjects.push(wanted);
            missing = true;
        }
    }
    missing
}

/// Whether `wide` takes everything that `narrow` takes.
fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('.');
    for word in wide.split('.') {
        let Some(other) = narrow.next() else { return false };
        match word {
            ">" => return true,
            "*" if other != ">" => {}
            word if word == other => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_only_ever_added() {
        let after = |there: &[&str], words: &[(&str, bool)]| {
            let mut subjects: Vec<_> = there.iter().map(|&subject| subject.to_owned()).collect();
            add(&mut subjects, &words.iter().copied().collect()).then(|| subjects.join(" "))
        };
        assert_eq!(after(&["TIDINGS"], &[("user", false)]).unwrap(), "TIDINGS user.>");
        assert_eq!(after(&["user.>"], &[("user", true)]).unwrap(), "user.> user");
        assert_eq!(after(&["user", "user.>"], &[("user", true)]), None);
        assert_eq!(after(&[">"], &[("user", true), ("order", false)]), None);
        assert_eq!(after(&["user.created", "user.*.x"], &[("user", false)]).unwrap(), "user.>");
        assert_eq!(after(&["*", "*.*"], &[("user", true)]).unwrap(), "* *.* user.>");
    }

    #[test]
    fn a_wider_subject_covers_a_narrower_one() {
        for (wide, narrow) in [(">", "a"), (">", "a.>"), ("a.>", "a.b.c"), ("a.>", "a.>"), ("*.>", "a.>"), ("a.*", "a.b")] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [("a.>", "a"), ("a.*", "a.>"), ("a", "a.b"), ("a.b", "a"), ("b.>", "a.>"), ("*", "a.b")] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn a_difference_is_named_in_the_urls_words() {
        let Value::Object(wanted) = json!({"max_age": 604_800_000_000_000_u64, "max_bytes": 1 << 30, "no_ack": false}) else {
            unreachable!()
        };
        let Value::Object(there) = json!({"max_age": 3_600_000_000_000_u64, "max_bytes": 1 << 30}) else { unreachable!() };
        assert_eq!(differences(&wanted, &there), ["`max_age` is 1h, not 7d"]);
    }
}
