//! A mail server's answer, fit for logs and dead letters.

use std::error::Error as _;
use std::fmt;

use lettre::transport::smtp::Error;
use lettre::transport::smtp::response::Code;

/// Longest text of an answer that is kept.
const LONGEST: usize = 200;

/// What a mail server answered: its code, and its words with the recipient's address taken out.
///
/// Servers like to repeat the address ("`<ada@example.com>: user unknown`"), and an error must quote nothing of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    code: Code,
    text: String,
}

impl Reply {
    /// The answer inside of `error`, if a server gave one; `hidden` are the address and its parts.
    pub(super) fn of(error: &Error, hidden: &[&str]) -> Option<Self> {
        let text = error.source().map(ToString::to_string).unwrap_or_default();
        Some(Self { code: error.status()?, text: redacted(&text, hidden) })
    }

    /// Whether the answer is about the login and not about the mail (RFC 4954, section 6).
    pub(super) fn asks_for_login(&self) -> bool {
        matches!(self.number(), 530 | 534 | 535 | 538)
    }

    /// The code as a number.
    pub(super) fn number(&self) -> u16 {
        let Code { severity, category, detail } = self.code;
        severity as u16 * 100 + category as u16 * 10 + detail as u16
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.is_empty() {
            true => write!(f, "{}", self.code),
            false => write!(f, "{} {}", self.code, self.text),
        }
    }
}

fn redacted(text: &str, hidden: &[&str]) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    for hidden in hidden {
        text = without(&text, hidden);
    }
    text
}

/// `text` with every occurrence of `hidden`, in whatever case of ASCII letters, replaced.
fn without(text: &str, hidden: &str) -> String {
    let (low, hidden) = (text.to_ascii_lowercase(), hidden.to_ascii_lowercase());
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for (place, found) in low.match_indices(&hidden) {
        if found.is_empty() {
            break;
        }
        kept.push_str(&text[from..place]);
        kept.push_str("[recipient]");
        from = place + found.len();
    }
    kept.push_str(&text[from..]);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipient_is_taken_out_of_a_servers_words() {
        let text = redacted("5.1.1 <Ada@Example.com>: ada\r\nunknown ÄÖ", &["ada@example.com", "ada"]);
        assert_eq!(text, "5.1.1 <[recipient]>: [recipient]  unknown ÄÖ");
    }

    #[test]
    fn nothing_hidden_changes_nothing() {
        assert_eq!(redacted("try later", &[""]), "try later");
    }

    #[test]
    fn long_words_are_cut() {
        assert_eq!(redacted(&"x".repeat(5_000), &[]).len(), LONGEST);
    }
}
