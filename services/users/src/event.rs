//! What the service says when a user has been created.

use serde::{Deserialize, Serialize};
use tidings::Event;

use crate::{
    domain::{InvalidField, User, UserId},
    proto,
};

/// A user has been created.
///
/// It has the fields that the tutorial's readers know, and no others: strict readers refuse a field more. When it happened
/// is the message's `time`; the password and its hash are nobody's.
#[derive(Clone, Debug, PartialEq, Eq, Event, Serialize, Deserialize)]
#[event(topic = "user.created", key = "id", header(id = "id"), proto = proto::User)]
pub struct UserCreated {
    /// Who it is: the same in every event of this user.
    pub id: UserId,
    /// What the user is called.
    pub name: String,
    /// Where the user works; may be empty.
    pub company: String,
    /// The user's address, lower-case.
    pub email: String,
}

impl From<&User> for UserCreated {
    fn from(user: &User) -> Self {
        let User { id, name, company, email } = user.clone();
        Self { id, name, company, email }
    }
}

impl TryFrom<proto::User> for UserCreated {
    type Error = InvalidField;

    fn try_from(user: proto::User) -> Result<Self, InvalidField> {
        Ok(Self { id: user.id.parse()?, name: user.name, company: user.company, email: user.email })
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tidings::Headers;

    use super::*;

    fn event() -> UserCreated {
        let id = "0190b2a4-7e1d-7c2f-8000-0123456789ab".parse().unwrap();
        UserCreated { id, name: "Ewan".into(), company: "BBC".into(), email: "ewan@example.com".into() }
    }

    #[test]
    fn its_body_is_what_strict_readers_of_the_tutorials_user_accept() {
        assert_eq!(UserCreated::TOPIC, "user.created");
        assert_eq!(UserCreated::CONTENT_TYPE, "application/json");
        assert_eq!(
            event().encode().unwrap(),
            r#"{"id":"0190b2a4-7e1d-7c2f-8000-0123456789ab","name":"Ewan","company":"BBC","email":"ewan@example.com"}"#
        );
    }

    #[test]
    fn the_users_id_is_its_key_and_its_header() {
        let mut headers = Headers::new();
        event().headers(&mut headers).unwrap();
        assert_eq!(headers.get("id"), Some("0190b2a4-7e1d-7c2f-8000-0123456789ab"));
        assert_eq!(event().key().as_deref(), Some("0190b2a4-7e1d-7c2f-8000-0123456789ab"));
    }

    #[test]
    fn it_is_read_in_both_forms() {
        let json = event().encode().unwrap();
        assert_eq!(UserCreated::decode(Some("application/json"), &json).unwrap(), event());
        let user = proto::User {
            id: event().id.to_string(),
            name: "Ewan".into(),
            company: "BBC".into(),
            email: "ewan@example.com".into(),
            password: "$2a$10$hash".into(),
        };
        let body = user.encode_to_vec().into();
        assert_eq!(UserCreated::decode(Some("application/protobuf"), &body).unwrap(), event());
    }
}
