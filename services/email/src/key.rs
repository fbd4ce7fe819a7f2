//! The name that one mail keeps however often it is sent: of its `.eml` file, and in its `Message-ID`.

use std::fmt::{self, Write};

use ring::digest::{SHA256, digest};

/// Longest name that is spelled out: with `.eml` or a temporary file's ending it stays within the 255 bytes of a file name.
const LONGEST: usize = 180;

/// The key of a user's welcome mail, in letters, digits, `-` and `.` alone.
///
/// Letters, digits and `-` stand for themselves, so that a UUID is readable; every other byte becomes `-.` and two
/// hexadecimal digits. No two ids have the same key, and none begins with a dot. An id whose key would be longer than
/// 180 bytes is named by its SHA-256 after the beginning `-.sha256-`, which no other key has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailKey(String);

impl MailKey {
    /// Makes the key of the user `id`.
    #[must_use]
    pub fn of(id: &str) -> Self {
        let mut key = String::with_capacity(id.len());
        for byte in id.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => key.push(char::from(byte)),
                other => push_hex(&mut key, "-.", other),
            }
        }
        match key.len() > LONGEST {
            true => Self(hashed(id)),
            false => Self(key),
        }
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MailKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hashed(id: &str) -> String {
    let mut key = "-.sha256-".to_owned();
    for byte in digest(&SHA256, id.as_bytes()).as_ref() {
        push_hex(&mut key, "", *byte);
    }
    key
}

fn push_hex(to: &mut String, before: &str, byte: u8) {
    // Writing to a `String` cannot fail.
    let _ = write!(to, "{before}{byte:02x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_is_its_own_key() {
        let id = "0198c4a2-7e1f-7c3e-9d4b-0a1b2c3d4e5f";
        assert_eq!(MailKey::of(id).as_str(), id);
    }

    #[test]
    fn no_two_ids_share_a_key() {
        let long = "é".repeat(100);
        let ids = ["a", "-a", "a-", "a.b", "a-.2eb", "a b", "a/b", "../b", ".2e", "-.2e", "é", "-.sha256-00", &long];
        let keys: std::collections::HashSet<_> = ids.iter().map(|id| MailKey::of(id).0).collect();
        assert_eq!(keys.len(), ids.len());
    }

    #[test]
    fn a_key_is_a_safe_file_name_whatever_the_id_holds() {
        for id in ["../../etc/passwd", ".hidden", "a\0b\r\n", "<x@y>", "имя", &"x/".repeat(500)] {
            let key = MailKey::of(id);
            assert!(key.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.'), "{key}");
            assert!(!key.as_str().starts_with('.') && key.as_str().len() <= LONGEST, "{key}");
        }
    }
}
