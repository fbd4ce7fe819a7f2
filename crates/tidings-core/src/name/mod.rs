//! The names a message carries. Each is checked once, when it is made; code that holds one need not look again.

mod group;
mod identity;
mod pattern;
mod topic;

pub use group::GroupName;
pub use identity::{Key, MessageId, Source};
pub use pattern::TopicPattern;
pub use topic::Topic;

use std::fmt;

/// A name that breaks its rule; says which name, the value, and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {}: {rule}", Quoted(value))]
pub struct InvalidName {
    what: &'static str,
    value: String,
    rule: &'static str,
}

impl InvalidName {
    pub(crate) fn new(what: &'static str, value: &str, rule: &'static str) -> Self {
        Self { what, value: value.to_owned(), rule }
    }
}

/// Enough of a value to recognise it, with what could upset a terminal or a log escaped.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        match self.0.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, "{:?}… ({} bytes)", &self.0[..end], self.0.len()),
            None => write!(f, "{:?}", self.0),
        }
    }
}

/// `as_str`, `Display`, `FromStr`, `AsRef<str>` and `Borrow<str>` for a newtype over [`Text`](crate::Text) with a `new`.
macro_rules! text_name {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            #[must_use]
            #[inline]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name as text that is cheap to keep.
            #[must_use]
            #[inline]
            pub fn text(&self) -> &crate::Text {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::InvalidName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}
pub(crate) use text_name;

#[cfg(test)]
mod tests;
