//! What identifies a message (`source` and `id`) and what orders it (`key`).

use std::{
    cell::Cell,
    fmt,
    str::FromStr,
    time::{SystemTime, UNIX_EPOCH},
};

use uuid::{Builder, Uuid};

use super::{InvalidName, text_name};
use crate::Text;

const MAX_LEN: usize = 255;

fn check(what: &'static str, text: &str) -> Result<(), InvalidName> {
    if text.is_empty() || text.len() > MAX_LEN || text.chars().any(char::is_control) {
        return Err(InvalidName::new(what, text, "1 to 255 bytes without control characters"));
    }
    Ok(())
}

/// Who says it: the CloudEvents `source`, `/users` for the service `users`.
///
/// Others' events come in too, so it is any text of 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Text);

text_name!(Source);

impl Source {
    /// A source.
    ///
    /// # Errors
    /// When `text` is empty, longer than 255 bytes, or has control characters.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check("source", text)?;
        Ok(Self(text.into()))
    }
}

/// What keeps order: messages with one key are handled one at a time, as published (the CloudEvents `partitionkey`).
///
/// Any text of 1 to 255 bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Text);

text_name!(Key);

impl Key {
    /// A key.
    ///
    /// # Errors
    /// When `text` is empty, longer than 255 bytes, or has control characters.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check("key", text)?;
        Ok(Self(text.into()))
    }
}

/// What tells a message from the others of its source: a UUIDv7 where we made it, any text of up to 255 bytes otherwise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(Repr);

/// A canonical UUID is always `Uuid`, so that the derived comparisons are right; it costs no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    Uuid(Uuid),
    Text(Text),
}

impl MessageId {
    /// A new id, unlike every other, rising with time (UUIDv7).
    #[must_use]
    pub fn generate() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or_default();
        Self(Repr::Uuid(Builder::from_unix_timestamp_millis(millis, &tail()).into_uuid()))
    }

    /// An id that somebody gave.
    ///
    /// # Errors
    /// When `text` is empty, longer than 255 bytes, or has control characters.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        check("message id", text)?;
        Ok(Self(canonical_uuid(text).map_or_else(|| Repr::Text(text.into()), Repr::Uuid)))
    }

    /// Calls `f` with the id as text, without an allocation.
    pub fn with_str<R>(&self, f: impl FnOnce(&str) -> R) -> R {
        match &self.0 {
            Repr::Uuid(id) => f(id.hyphenated().encode_lower(&mut Uuid::encode_buffer())),
            Repr::Text(text) => f(text),
        }
    }
}

/// What stands behind the time in an id: where each thread begins is chance, and from there it counts (RFC 9562, section 6.2,
/// method 2). `Uuid::now_v7` takes new chance under a lock that all threads share, which is a good part of what a message costs.
fn tail() -> [u8; 10] {
    thread_local!(static LAST: Cell<u128> = const { Cell::new(0) });
    let last = match LAST.get() {
        0 => Uuid::new_v4().as_u128(),
        last => last,
    };
    let next = last.wrapping_add(1);
    LAST.set(next);
    let [.., a, b, c, d, e, f, g, h, i, j] = next.to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j]
}

/// Only the form that we would print again: any other spelling of a UUID is another id.
fn canonical_uuid(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some(id)
}

impl From<Uuid> for MessageId {
    fn from(id: Uuid) -> Self {
        Self(Repr::Uuid(id))
    }
}

impl FromStr for MessageId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|text| f.pad(text))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_str(|text| fmt::Debug::fmt(text, f))
    }
}
