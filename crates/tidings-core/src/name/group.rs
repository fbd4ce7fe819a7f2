//! Groups: who shares a subscription.

use super::{InvalidName, text_name, topic};
use crate::Text;

/// The name of those who share a subscription; by default the service's name.
///
/// ASCII letters, digits, `-` and `_`, at most 64 bytes, and no dots: it is one word of `dead.<group>.<topic>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupName(Text);

text_name!(GroupName);

impl GroupName {
    /// The longest group name, in bytes.
    pub const MAX_LEN: usize = 64;

    /// A group name.
    ///
    /// # Errors
    /// When `text` is no such name; the error names the rule.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        if text.len() > Self::MAX_LEN || !topic::is_word(text) {
            return Err(InvalidName::new("group", text, "1 to 64 letters, digits, `-` and `_`, without dots"));
        }
        Ok(Self(text.into()))
    }

    /// The group that a service's name stands for: `go.micro.srv.email` is `go_micro_srv_email`.
    ///
    /// # Errors
    /// When the name has other characters, or is too long.
    pub fn of_service(name: &str) -> Result<Self, InvalidName> {
        Self::new(&name.replace('.', "_"))
    }
}
