//! The headers of a message: names may repeat, order is kept.

use std::sync::Arc;

use crate::{InvalidName, Text};

/// Headers of a message, in order; names may repeat and are told apart by case.
///
/// No headers cost nothing: the list is absent, not empty. A clone shares the list until one of the two changes. The name of an extension attribute of CloudEvents that has no
/// field of its own begins with `ce-`, on every wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<Vec<(Text, Text)>>>);

impl Headers {
    /// The longest name, in bytes.
    pub const MAX_NAME: usize = 255;
    /// The longest value, in bytes.
    pub const MAX_VALUE: usize = 8 * 1024;

    /// No headers.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Adds one, behind those that are there.
    ///
    /// # Errors
    /// When the name is not 1 to 255 of the characters that HTTP allows in a header's name, or the value is longer than
    /// 8 KiB or has control characters.
    pub fn append(&mut self, name: impl Into<Text>, value: impl Into<Text>) -> Result<(), InvalidName> {
        let (name, value) = (name.into(), value.into());
        if name.is_empty() || name.len() > Self::MAX_NAME || !name.bytes().all(is_name_byte) {
            return Err(InvalidName::new("header name", &name, "1 to 255 letters, digits and !#$%&'*+-.^_`|~"));
        }
        if value.len() > Self::MAX_VALUE || value.chars().any(|c| c.is_control() && c != '\t') {
            // The value is left out: it may be a secret.
            return Err(InvalidName::new("value of header", &name, "at most 8 KiB without control characters"));
        }
        Arc::make_mut(self.0.get_or_insert_default()).push((name, value));
        Ok(())
    }

    /// Takes all of that name away and adds this one.
    ///
    /// # Errors
    /// As [`Headers::append`].
    pub fn set(&mut self, name: impl Into<Text>, value: impl Into<Text>) -> Result<(), InvalidName> {
        let name = name.into();
        self.remove(&name);
        self.append(name, value)
    }

    /// Takes all of that name away.
    pub fn remove(&mut self, name: &str) {
        if let Some(all) = &mut self.0 {
            let all = Arc::make_mut(all);
            all.retain(|(other, _)| other != name);
            if all.is_empty() {
                self.0 = None;
            }
        }
    }

    /// The first value of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All values of that name, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter().filter(move |(other, _)| *other == name).map(|(_, value)| value)
    }

    /// All headers, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.as_deref().map_or(&[][..], Vec::as_slice).iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |all| all.len())
    }

    /// The bytes of all names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_repeat_and_order_is_kept() {
        let mut headers = Headers::new();
        for (name, value) in [("a", "1"), ("b", "with: colon, ünicode"), ("a", ""), ("A", "3")] {
            headers.append(name, value).unwrap();
        }
        assert_eq!(headers.get_all("a").collect::<Vec<_>>(), ["1", ""]);
        assert_eq!(headers.get("A"), Some("3"));
        headers.set("a", "2").unwrap();
        assert_eq!(headers.iter().map(|(name, _)| name).collect::<String>(), "bAa");
    }

    #[test]
    fn without_headers_there_is_no_list() {
        let mut headers = Headers::new();
        headers.append("a", "1").unwrap();
        headers.remove("a");
        assert!(headers.is_empty());
        assert_eq!(headers, Headers::default());
    }

    #[test]
    fn what_would_break_a_wire_is_refused_without_the_value() {
        let mut headers = Headers::new();
        for name in ["", "a b", "a:b", "ü", "a\r\nb", &"n".repeat(256)] {
            assert!(headers.append(name, "x").is_err(), "{name:?}");
        }
        let error = headers.append("token", "secret\r\nx").unwrap_err().to_string();
        assert!(error.contains("token") && !error.contains("secret"), "{error}");
        assert!(headers.append("a", "v".repeat(4096)).is_ok());
        assert!(headers.append("a", "v".repeat(8193)).is_err());
    }
}
