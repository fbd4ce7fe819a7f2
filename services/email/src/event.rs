//! What this service knows of `user.created`: its own reading of it, apart from whoever publishes it.
//!
//! Publishers differ (the user-service of this workspace, go-micro's in JSON and in protobuf), so as little as possible is
//! asked for: `id` and `email`. Whatever else comes is passed over.

use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use tidings::Event;

/// Longest `id`, in bytes: what identifies a user in anyone's event.
const LONGEST_ID: usize = 255;

/// Longest `name` and `company`, in characters; what is longer is cut, for it is only shown.
const LONGEST_TEXT: usize = 1_000;

/// A user has been created.
#[derive(Debug, Clone, Default, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(topic = "user.created", key = "id", proto = ProtoUser)]
pub struct UserCreated {
    /// Who it is: the same in every event of this user.
    #[serde(deserialize_with = "json_id")]
    pub id: String,
    /// What the user is called, one line; may be empty.
    #[serde(default, deserialize_with = "json_text")]
    pub name: String,
    /// Whom the user works for, one line; may be empty.
    #[serde(default, deserialize_with = "json_text")]
    pub company: String,
    /// Where the mail goes; its form is looked at when the mail is put together.
    #[serde(deserialize_with = "json_email")]
    pub email: String,
}

/// The fields of the tutorial's `User` that are read; prost passes over the others, the password among them.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ProtoUser {
    /// See [`UserCreated::id`].
    #[prost(string, tag = "1")]
    pub id: String,
    /// See [`UserCreated::name`].
    #[prost(string, tag = "2")]
    pub name: String,
    /// See [`UserCreated::company`].
    #[prost(string, tag = "3")]
    pub company: String,
    /// See [`UserCreated::email`].
    #[prost(string, tag = "4")]
    pub email: String,
}

/// A field that no mail can be sent with. It does not quote the field's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user has no {expected}")]
pub struct InvalidUser {
    expected: &'static str,
}

impl TryFrom<ProtoUser> for UserCreated {
    type Error = InvalidUser;

    fn try_from(user: ProtoUser) -> Result<Self, InvalidUser> {
        Ok(Self { id: id(user.id)?, name: one_line(&user.name), company: one_line(&user.company), email: email(user.email)? })
    }
}

/// Control characters are refused because a database may not store them (NUL), and nobody means them.
fn id(text: String) -> Result<String, InvalidUser> {
    match text.is_empty() || text.len() > LONGEST_ID || text.chars().any(char::is_control) {
        true => Err(InvalidUser { expected: "`id` of 1 to 255 bytes without control characters" }),
        false => Ok(text),
    }
}

fn email(text: String) -> Result<String, InvalidUser> {
    match text.is_empty() {
        true => Err(InvalidUser { expected: "`email`" }),
        false => Ok(text),
    }
}

/// What is shown cannot begin a line of its own, in a header or in the text of a mail.
fn one_line(text: &str) -> String {
    let spaced = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(LONGEST_TEXT).map(spaced).collect()
}

/// Go's encoders leave empty fields out, others write `null`: all of them mean empty.
fn json_text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    Option::<String>::deserialize(from).map(|text| one_line(&text.unwrap_or_default()))
}

fn json_id<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    id(Option::deserialize(from)?.unwrap_or_default()).map_err(expected)
}

fn json_email<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    email(Option::deserialize(from)?.unwrap_or_default()).map_err(expected)
}

fn expected<E: Error>(invalid: InvalidUser) -> E {
    E::invalid_value(Unexpected::Other("field"), &invalid.expected)
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tidings::Event;

    use super::*;

    fn json(body: &str) -> Result<UserCreated, String> {
        UserCreated::decode(None, &body.to_owned().into()).map_err(|error| error.to_string())
    }

    fn proto(user: &ProtoUser) -> Result<UserCreated, String> {
        let body = user.encode_to_vec().into();
        UserCreated::decode(Some("application/protobuf"), &body).map_err(|error| error.to_string())
    }

    fn ada() -> ProtoUser {
        ProtoUser {
            id: "1".to_owned(),
            name: "Ada".to_owned(),
            company: "Engines".to_owned(),
            email: "ada@example.com".to_owned(),
        }
    }

    #[test]
    fn json_and_protobuf_read_alike() {
        let read = json(r#"{"id":"1","name":"Ada","company":"Engines","email":"ada@example.com"}"#).unwrap();
        assert_eq!(read, proto(&ada()).unwrap());
    }

    #[test]
    fn only_id_and_email_must_be_there() {
        for body in [
            r#"{"id":"1","email":"a@b.c"}"#,
            r#"{"id":"1","email":"a@b.c","name":null,"company":""}"#,
            r#"{"id":"1","email":"a@b.c","password":"$2a$10$x","more":[1]}"#,
        ] {
            let user = json(body).unwrap();
            assert_eq!((user.id.as_str(), user.name.as_str(), user.email.as_str()), ("1", "", "a@b.c"));
        }
    }

    #[test]
    fn an_error_names_the_field_and_quotes_no_value() {
        for (body, says) in [
            (r#"{"id":"","email":"secret@b.c"}"#, "expected `id` of 1 to 255 bytes"),
            (r#"{"id":null,"email":"secret@b.c"}"#, "expected `id`"),
            (r#"{"id":"secret\u0000","email":"a@b.c"}"#, "without control characters"),
            (r#"{"id":"secret"}"#, "missing field `email`"),
            (r#"{"id":"secret","email":""}"#, "expected `email`"),
            (r#"{"id":"1","email":["secret"]}"#, "expected a string"),
            (r#"{"id":"1","email":"secret"#, "malformed JSON"),
        ] {
            let error = json(body).unwrap_err();
            assert!(error.contains(says), "{body}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
        let nobody = ProtoUser { id: String::new(), email: "secret@b.c".to_owned(), ..ada() };
        assert_eq!(proto(&nobody).unwrap_err(), "the user has no `id` of 1 to 255 bytes without control characters");
        let nowhere = ProtoUser { email: String::new(), ..ada() };
        assert_eq!(proto(&nowhere).unwrap_err(), "the user has no `email`");
    }

    #[test]
    fn what_is_shown_is_one_line_of_bounded_length() {
        let user = proto(&ProtoUser { name: "Ada\r\nBcc: x\0".to_owned(), company: "é".repeat(9_999), ..ada() }).unwrap();
        assert_eq!(user.name, "Ada  Bcc: x ");
        assert_eq!(user.company.chars().count(), LONGEST_TEXT);
    }
}
