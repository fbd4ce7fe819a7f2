//! A dead letter: the original message, untouched, with headers that say why its group gave up on it.

use std::{fmt::Write, time::SystemTime};

use tidings_core::{Message, Text, Topic, dedup_of, wire};

use crate::handlers::{SubscriptionName, Verdict};

/// What a dead letter's own headers may take in all, in bytes: publishing leaves 8 KiB below the engine's limit.
const MAX_HEADERS: usize = 4 * 1024;
/// The most of the instance's id that is kept, in bytes.
const MAX_INSTANCE: usize = 255;
/// Failed attempts so far; the broker or a dead letter says it.
pub(super) const ATTEMPTS: &str = "tidings-attempts";
/// How often the message was replayed.
const REPLAYS: &str = "tidings-replays";
const ERROR: &str = "tidings-error";

/// Why a message was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The last attempt that its policy allows failed.
    Failed,
    /// Its handler said that no attempt can succeed, or its body cannot be read.
    Rejected,
    /// The last attempt panicked.
    Panicked,
    /// The last attempt took too long.
    TimedOut,
    /// It probably kills the process: it came again and again without an outcome.
    NoOutcome,
}

impl Reason {
    /// Why a message is given up after a handler's own word.
    pub(super) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Reject => Self::Rejected,
            Verdict::Retry | Verdict::RetryAfter(_) => Self::Failed,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Rejected => "rejected",
            Self::Panicked => "panicked",
            Self::TimedOut => "timed-out",
            Self::NoOutcome => "no-outcome",
        }
    }
}

/// What is known of a message that was given up.
#[derive(Debug)]
pub(super) struct GivenUp<'a> {
    pub(super) reason: Reason,
    /// The error and its causes, in one line.
    pub(super) error: &'a str,
    /// Attempts that ended in failure.
    pub(super) attempts: u32,
    pub(super) first_attempt: SystemTime,
    pub(super) last_attempt: SystemTime,
    pub(super) instance: &'a str,
}

/// The dead letter of `message` from `subscription`.
pub(super) fn letter(message: &Message, subscription: &SubscriptionName, given_up: &GivenUp<'_>) -> Message {
    let SubscriptionName { group, pattern } = subscription;
    let replays = message.headers().get(REPLAYS).unwrap_or("0");
    let dedup = message.id().with_str(|id| dedup_of(&[&"dead", group, pattern, &message.source().as_str(), &id, &replays]));
    let mut headers = message.headers().clone();
    headers.remove(ERROR);
    let mut put = |name: &'static str, value: &str| {
        // Every value here is one that headers take; one that is not would be left out rather than the letter.
        let _ = headers.set(Text::from_static(name), value);
    };
    put("tidings-reason", given_up.reason.as_str());
    put(ATTEMPTS, &given_up.attempts.to_string());
    put("tidings-first-attempt", wire::write_time(given_up.first_attempt, &mut [0; 40]));
    put("tidings-last-attempt", wire::write_time(given_up.last_attempt, &mut [0; 40]));
    put("tidings-instance", &printable(given_up.instance, MAX_INSTANCE));
    put("tidings-group", group.as_str());
    put("tidings-pattern", pattern.as_str());
    if let Some(trace) = message.trace() {
        put("tidings-traceparent", trace.traceparent().as_str());
    }
    let own = headers.iter().filter(|(name, _)| name.starts_with("tidings-"));
    let taken: usize = own.map(|(name, value)| name.len() + value.len()).sum();
    let error = printable(given_up.error, MAX_HEADERS.saturating_sub(taken + ERROR.len()));
    let _ = headers.set(Text::from_static(ERROR), error);
    let to = Topic::dead(group, message.topic());
    // The type is the original's, also where it was the topic.
    message.clone().into_builder().topic(to).event_type(message.event_type().clone()).dedup_id(dedup).headers(headers).build()
}

/// The letter once more, without its body: for a broker that refuses it as it is.
pub(super) fn without_body(letter: &Message) -> Message {
    let mut headers = letter.headers().clone();
    let _ = headers.set(Text::from_static("tidings-body-left-out"), letter.body().len().to_string());
    letter.clone().into_builder().headers(headers).body(bytes::Bytes::new()).build()
}

/// Failed attempts before this delivery, as the message itself says.
pub(super) fn attempts_in(message: &Message) -> u32 {
    if message.headers().is_empty() {
        return 0;
    }
    message.headers().get(ATTEMPTS).and_then(|attempts| attempts.parse().ok()).unwrap_or(0)
}

/// The text without control characters, and what was cut of it counted.
fn printable(text: &str, limit: usize) -> String {
    const COUNT: usize = 24;
    let mut printable = text.replace(char::is_control, " ");
    if printable.len() > limit {
        let cut = printable.len() - printable.floor_char_boundary(limit.saturating_sub(COUNT));
        printable.truncate(printable.len() - cut);
        let _ = write!(printable, "… ({cut} bytes)");
    }
    printable
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_core::{GroupName, Headers, MessageId, Source, TopicPattern, TraceContext};

    use super::*;

    fn subscription(pattern: &str) -> SubscriptionName {
        SubscriptionName { group: GroupName::new("mail").unwrap(), pattern: TopicPattern::new(pattern).unwrap() }
    }

    fn message() -> Message {
        let mut headers = Headers::new();
        headers.append("x", "1").unwrap();
        headers.append("x", "2").unwrap();
        Message::builder(Topic::new("user.created").unwrap(), Source::new("/us ers").unwrap(), Bytes::from_static(b"\xff{}"))
            .id(MessageId::new("1 2").unwrap())
            .trace(TraceContext::start())
            .headers(headers)
            .build()
    }

    fn given_up(error: &str) -> GivenUp<'_> {
        GivenUp {
            reason: Reason::Failed,
            error,
            attempts: 5,
            first_attempt: SystemTime::UNIX_EPOCH,
            last_attempt: SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4),
            instance: "i-1",
        }
    }

    #[test]
    fn a_letter_is_the_original_and_says_why() {
        let original = message();
        let letter = letter(&original, &subscription("user.*"), &given_up("outer: inner\nline"));
        assert_eq!(letter.topic().as_str(), "dead.mail.user.created");
        assert_eq!((letter.id(), letter.source(), letter.time()), (original.id(), original.source(), original.time()));
        assert_eq!((letter.body(), letter.trace()), (original.body(), original.trace()));
        assert_eq!(*letter.event_type(), *original.event_type());
        let headers = letter.headers();
        assert_eq!(headers.get_all("x").collect::<Vec<_>>(), ["1", "2"]);
        let traceparent = original.trace().unwrap().traceparent();
        for (name, value) in [
            ("tidings-reason", "failed"),
            ("tidings-error", "outer: inner line"),
            ("tidings-attempts", "5"),
            ("tidings-first-attempt", "1970-01-01T00:00:00Z"),
            ("tidings-last-attempt", "1970-01-01T00:00:04Z"),
            ("tidings-instance", "i-1"),
            ("tidings-group", "mail"),
            ("tidings-pattern", "user.*"),
            ("tidings-traceparent", traceparent.as_str()),
        ] {
            assert_eq!(headers.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn letters_of_two_subscriptions_and_of_a_replay_are_all_kept() {
        let mut replayed = message().headers().clone();
        replayed.append(REPLAYS, "1").unwrap();
        let replayed = message().into_builder().headers(replayed).build();
        let why = given_up("");
        let ids = [
            letter(&message(), &subscription("user.*"), &why).dedup_id(),
            letter(&message(), &subscription("user.>"), &why).dedup_id(),
            letter(&replayed, &subscription("user.*"), &why).dedup_id(),
        ];
        assert_eq!(ids[0], "dead mail user.* /us%20ers 1%202 0");
        assert_eq!(ids[1], "dead mail user.> /us%20ers 1%202 0");
        assert_eq!(ids[2], "dead mail user.* /us%20ers 1%202 1");
    }

    #[test]
    fn however_long_the_error_a_letters_own_headers_are_at_most_four_kibibytes() {
        let error = "é\u{7}".repeat(100_000);
        let instance = "i".repeat(100_000);
        let letter = letter(&message(), &subscription("user.*"), &GivenUp { instance: &instance, ..given_up(&error) });
        let own: usize = letter.headers().size() - message().headers().size();
        assert!((MAX_HEADERS - 64..=MAX_HEADERS).contains(&own), "{own}");
        let kept = letter.headers().get(ERROR).unwrap();
        assert!(kept.starts_with("é é ") && kept.ends_with(" bytes)"), "{kept}");
    }

    #[test]
    fn attempts_are_read_from_the_message() {
        assert_eq!(attempts_in(&message()), 0);
        let letter = letter(&message(), &subscription("user.*"), &given_up(""));
        assert_eq!(attempts_in(&letter), 5);
        assert_eq!(without_body(&letter).headers().get("tidings-body-left-out"), Some("3"));
    }
}
