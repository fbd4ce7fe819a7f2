//! Topics: dotted names such as `user.created`.

use super::{GroupName, InvalidName, text_name};
use crate::Text;

/// The first words that belong to the framework: dead letters and replays.
const RESERVED: [&str; 2] = ["dead", "again"];

/// A dotted topic such as `user.created`.
///
/// Words of ASCII letters, digits, `-` and `_`, joined by dots; at most 160 bytes, so that `again.<group>.<topic>` fits
/// every engine (Kafka's limit is 249). The first words `dead` and `again` are reserved.
///
/// ```
/// # use tidings_core::Topic;
/// assert!(Topic::new("user.created").is_ok());
/// assert!(Topic::new("user..created").is_err());
/// assert!(Topic::new("dead.email").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Text);

text_name!(Topic);

impl Topic {
    /// The longest topic of an event, in bytes.
    pub const MAX_LEN: usize = 160;
    /// The longest of the framework's own topics, `again.<group>.<topic>`, in bytes: Kafka's limit.
    pub(super) const MAX_RESERVED_LEN: usize = 249;
    /// The longest name that any engine's message is taken from, in bytes.
    const MAX_WIRE_LEN: usize = 255;

    /// A topic for events.
    ///
    /// # Errors
    /// When `text` is no such topic; the error names the rule.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// A topic for events, written in the program.
    ///
    /// # Errors
    /// As [`Topic::new`].
    pub fn from_static(text: &'static str) -> Result<Self, InvalidName> {
        check(text)?;
        Ok(Self(Text::from_static(text)))
    }

    /// What an engine calls the place a message came from: others choose names by wider rules.
    ///
    /// # Errors
    /// When `text` is empty, longer than 255 bytes, or has blanks or control characters.
    pub fn from_wire(text: impl Into<Text>) -> Result<Self, InvalidName> {
        let text = text.into();
        if text.is_empty() || text.len() > Self::MAX_WIRE_LEN || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(InvalidName::new("topic", &text, "1 to 255 bytes without blanks and control characters"));
        }
        Ok(Self(text))
    }

    /// Where the dead letters of `group` for messages of `topic` go.
    #[must_use]
    pub fn dead(group: &GroupName, topic: &Self) -> Self {
        Self(format!("dead.{group}.{topic}").into())
    }

    /// Where messages of `topic` that `group` alone gets once more go.
    #[must_use]
    pub fn again(group: &GroupName, topic: &Self) -> Self {
        Self(format!("again.{group}.{topic}").into())
    }

    /// Whether every engine can publish on it: what came from the wire follows wider rules, and the framework's own topics
    /// may be published on too.
    ///
    /// # Errors
    /// When it cannot; the error names the rule.
    pub fn check_for_publish(&self) -> Result<(), InvalidName> {
        if self.is_reserved() && self.0.len() <= Self::MAX_RESERVED_LEN && self.0.split('.').all(is_word) {
            return Ok(());
        }
        check(&self.0)
    }

    /// Whether this is one of the framework's own topics (`dead.…`, `again.…`).
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        is_reserved(&self.0)
    }
}

pub(super) fn is_reserved(text: &str) -> bool {
    RESERVED.iter().any(|word| text.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

pub(super) fn is_word(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn check(text: &str) -> Result<(), InvalidName> {
    let fail = |rule| Err(InvalidName::new("topic", text, rule));
    if text.len() > Topic::MAX_LEN {
        return fail("at most 160 bytes");
    }
    if !text.split('.').all(is_word) {
        return fail("words of letters, digits, `-` and `_`, joined by dots");
    }
    if is_reserved(text) {
        return fail("the first words `dead` and `again` are reserved");
    }
    Ok(())
}
