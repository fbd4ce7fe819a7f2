//! What a user is, and which input may become one. No I/O, no wire, no database.
//!
//! The tutorial's service checked nothing, so a stored [`User`] may break the
//! rules that [`User::new`] holds new ones to.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use email_address::{EmailAddress, Options};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

const NAME: RangeInclusive<usize> = 1..=200;
const COMPANY: RangeInclusive<usize> = 0..=200;
const PASSWORD: RangeInclusive<usize> = 8..=128;
/// Longest address that SMTP carries, in bytes (RFC 5321, 4.5.3.1.3).
const LONGEST_EMAIL: usize = 254;

/// Names a user; given by the service, never by a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(Uuid);

impl UserId {
    /// A new id; it sorts after those made before it.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for UserId {
    type Err = InvalidField;

    fn from_str(text: &str) -> Result<Self, InvalidField> {
        text.parse().map(Self).map_err(|_| InvalidField::Id)
    }
}

/// A user as others may see it: without the password and its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The service's own name for the user.
    pub id: UserId,
    /// Who it is, in any script.
    pub name: String,
    /// Where the user works; may be empty.
    pub company: String,
    /// The address, lower-case, that no other user has.
    pub email: String,
}

impl User {
    /// A new user with a new id.
    ///
    /// # Errors
    /// The first field that breaks its rule: a name of 1 to 200 characters that
    /// are not all blank, a company of at most 200, an e-mail address of at most
    /// 254 bytes; none with control characters.
    pub fn new(name: &str, company: &str, email: &str) -> Result<Self, InvalidField> {
        check_text("name", name, NAME)?;
        check_text("company", company, COMPANY)?;
        if name.trim().is_empty() {
            return Err(InvalidField::Blank { field: "name" });
        }
        Ok(Self { id: UserId::generate(), name: name.to_owned(), company: company.to_owned(), email: checked_email(email)? })
    }
}

/// The form in which addresses are stored, compared and looked up.
#[must_use]
pub fn fold_email(email: &str) -> String {
    email.to_lowercase()
}

/// A password that a new user may have. Never printed.
pub struct Password(String);

impl Password {
    /// Checks the length.
    ///
    /// # Errors
    /// When it does not have 8 to 128 characters.
    pub fn new(text: String) -> Result<Self, InvalidField> {
        check_length("password", text.chars().count(), PASSWORD)?;
        Ok(Self(text))
    }

    /// What the hash is made of.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// A field of a request that breaks its rule. Names the field and the rule,
/// never the value.
#[derive(Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidField {
    /// Too short or too long.
    #[error("{field} must have {} to {} {unit}, this one has {given}", allowed.start(), allowed.end())]
    Length {
        /// The field's name in the proto.
        field: &'static str,
        /// The least and the most.
        allowed: RangeInclusive<usize>,
        /// What is counted.
        unit: &'static str,
        /// How many there are.
        given: usize,
    },
    /// A line break or another character that no name has.
    #[error("{field} must not have control characters")]
    Control {
        /// The field's name in the proto.
        field: &'static str,
    },
    /// Nothing to be seen in it.
    #[error("{field} must not be blank")]
    Blank {
        /// The field's name in the proto.
        field: &'static str,
    },
    /// Not the shape `someone@somewhere`.
    #[error("email must be an address such as someone@example.com")]
    Email(#[source] Option<email_address::Error>),
    /// Not a UUID.
    #[error("id must be a UUID")]
    Id,
}

fn check_length(field: &'static str, given: usize, allowed: RangeInclusive<usize>) -> Result<(), InvalidField> {
    if allowed.contains(&given) {
        return Ok(());
    }
    Err(InvalidField::Length { field, allowed, unit: "characters", given })
}

fn check_text(field: &'static str, text: &str, allowed: RangeInclusive<usize>) -> Result<(), InvalidField> {
    check_length(field, text.chars().count(), allowed)?;
    if text.chars().any(char::is_control) {
        return Err(InvalidField::Control { field });
    }
    Ok(())
}

fn checked_email(email: &str) -> Result<String, InvalidField> {
    let email = fold_email(email);
    if email.len() > LONGEST_EMAIL {
        return Err(InvalidField::Length { field: "email", allowed: 1..=LONGEST_EMAIL, unit: "bytes", given: email.len() });
    }
    // A quoted local part may hold these by the letter of the RFC; nobody's does.
    if email.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(InvalidField::Email(None));
    }
    let shape = Options { allow_display_text: false, allow_domain_literal: false, ..Options::default() };
    EmailAddress::parse_with_options(&email, shape).map_err(|source| InvalidField::Email(Some(source)))?;
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(name: &str, company: &str, email: &str) -> String {
        User::new(name, company, email).unwrap_err().to_string()
    }

    #[test]
    fn a_user_gets_an_id_and_a_lower_case_address() {
        let user = User::new("Ewan", "BBC", "Ewan@Example.COM").unwrap();
        assert_eq!(user.email, "ewan@example.com");
        assert_eq!(user.id.to_string().parse(), Ok(user.id));
    }

    #[test]
    fn names_in_any_script_and_no_company_are_welcome() {
        for name in ["李小龍", "Ольга Ивановна", "أحمد", "🦀"] {
            User::new(name, "", "a@b").unwrap();
        }
    }

    #[test]
    fn each_refusal_names_its_field_and_the_rule() {
        let long = "ü".repeat(201);
        assert_eq!(refused("", "", "a@b"), "name must have 1 to 200 characters, this one has 0");
        assert_eq!(refused(&long, "", "a@b"), "name must have 1 to 200 characters, this one has 201");
        assert_eq!(refused(" \u{3000}", "", "a@b"), "name must not be blank");
        assert_eq!(refused("a\r\nBcc: x", "", "a@b"), "name must not have control characters");
        assert_eq!(refused("a", &long, "a@b"), "company must have 0 to 200 characters, this one has 201");
        assert_eq!(refused("a", "\0", "a@b"), "company must not have control characters");
    }

    #[test]
    fn the_limits_themselves_are_allowed_and_count_characters() {
        let longest = "ü".repeat(200);
        User::new(&longest, &longest, "a@b").unwrap();
        Password::new("ü".repeat(8)).unwrap();
        Password::new("ü".repeat(128)).unwrap();
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for email in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a b@c",
            "a@b c",
            "a@b\n",
            "a@b\r\nBcc: c@d",
            "a@@b",
            "a@.b",
            "a@b.",
            "a@[127.0.0.1]",
            "A <a@b>",
            "\"a b\"@c",
            "a@b,c@d",
            "a\0@b",
        ] {
            let error = refused("a", "", email);
            assert!(error.starts_with("email must be an address"), "{email:?}: {error}");
        }
    }

    #[test]
    fn an_address_over_254_bytes_is_refused_by_its_length() {
        let label = "d".repeat(62);
        let domain = format!("{label}.{label}.{label}.{}", "d".repeat(62));
        assert_eq!(domain.len(), 251);
        User::new("a", "", &format!("ab@{domain}")).unwrap();
        assert_eq!(refused("a", "", &format!("abc@{domain}")), "email must have 1 to 254 bytes, this one has 255");
    }

    #[test]
    fn passwords_have_8_to_128_characters_and_are_not_printed() {
        assert_eq!(
            Password::new("1234567".into()).unwrap_err().to_string(),
            "password must have 8 to 128 characters, this one has 7"
        );
        assert!(Password::new("x".repeat(129)).is_err());
        let password = Password::new("hunter22".into()).unwrap();
        assert!(!format!("{password:?}").contains("hunter"));
    }
}
