//! What a subscription asks for: a topic, or a pattern over topics.

use super::{InvalidName, Topic, text_name, topic};
use crate::Text;

/// A topic, or a pattern: `user.*` (one word) or `user.>` (one or more words, at the end).
///
/// A wildcard in first place matches neither `dead.…` nor `again.…`; whoever wants those writes the word.
///
/// ```
/// # use tidings_core::{Topic, TopicPattern};
/// let pattern = TopicPattern::new("user.>").unwrap();
/// assert!(pattern.matches(&Topic::new("user.address.changed").unwrap()));
/// assert!(!pattern.matches(&Topic::new("user").unwrap()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPattern(Text);

text_name!(TopicPattern);

impl TopicPattern {
    /// A pattern.
    ///
    /// # Errors
    /// When `text` is no such pattern; the error names the rule.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Whether it holds `*` or `>`.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        self.words().any(|word| word == "*" || word == ">")
    }

    /// The topic, when there is no wildcard in it.
    #[must_use]
    pub fn as_topic(&self) -> Option<Topic> {
        (!self.has_wildcard()).then(|| Topic::from_wire(self.0.clone()).ok()).flatten()
    }

    /// The words between the dots.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether a subscription to this pattern gets messages of `topic`.
    #[must_use]
    pub fn matches(&self, topic: &Topic) -> bool {
        if *self.0 == *topic.as_str() {
            return true;
        }
        let mut words = topic.as_str().split('.');
        for (place, want) in self.words().enumerate() {
            let Some(word) = words.next() else { return false };
            let wild = want == ">" || want == "*";
            if wild && place == 0 && topic.is_reserved() {
                return false;
            }
            if want == ">" {
                return true;
            }
            if !wild && want != word {
                return false;
            }
        }
        words.next().is_none()
    }
}

impl From<Topic> for TopicPattern {
    fn from(topic: Topic) -> Self {
        Self(topic.text().clone())
    }
}

fn check(text: &str) -> Result<(), InvalidName> {
    let fail = |rule| Err(InvalidName::new("topic pattern", text, rule));
    // The framework's own subscriptions are `again.<group>.<pattern>`: longer than an event's topic may be.
    let limit = if topic::is_reserved(text) { Topic::MAX_RESERVED_LEN } else { Topic::MAX_LEN };
    if text.len() > limit {
        return fail("at most 160 bytes");
    }
    let mut words = text.split('.').peekable();
    while let Some(word) = words.next() {
        match word {
            "*" => {}
            ">" if words.peek().is_none() => {}
            ">" => return fail("`>` stands for all that follows and can only come last"),
            word if topic::is_word(word) => {}
            _ => return fail("words of letters, digits, `-` and `_`, or `*`, joined by dots, with `>` for the rest"),
        }
    }
    Ok(())
}
