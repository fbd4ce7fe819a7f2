//! What `#[derive(Event)]` makes of each of its attributes.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidings::{Event, Headers};

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {
    id: u64,
    name: String,
}

fn ada() -> UserCreated {
    UserCreated { id: 7, name: "Ada".into() }
}

#[test]
fn a_topic_is_enough() {
    assert_eq!(UserCreated::TOPIC, "user.created");
    assert_eq!(UserCreated::TYPE, "user.created");
    assert_eq!(UserCreated::CONTENT_TYPE, "application/json");
    assert_eq!(ada().key(), None);
    let mut headers = Headers::new();
    ada().headers(&mut headers).unwrap();
    assert!(headers.is_empty());
}

#[test]
fn a_body_is_json_and_what_is_not_says_where_and_quotes_nothing() {
    let body = ada().encode().unwrap();
    assert_eq!(body, r#"{"id":7,"name":"Ada"}"#);
    assert_eq!(UserCreated::decode(Some("application/json"), &body).unwrap(), ada());
    assert_eq!(UserCreated::decode(None, &body).unwrap(), ada());
    let error = UserCreated::decode(None, &r#"{"id":"hunter2"}"#.into()).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("u64") && !error.contains("hunter2"), "{error}");
}

#[test]
fn a_type_may_differ_from_the_topic() {
    #[derive(Event, Serialize, Deserialize)]
    #[event(topic = "user.created", type = "com.example.user.v1")]
    struct Typed;
    assert_eq!((Typed::TOPIC, Typed::TYPE), ("user.created", "com.example.user.v1"));
}

#[derive(Serialize, Deserialize)]
struct UserId(u64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "u-{}", self.0)
    }
}

#[test]
fn a_key_is_the_text_of_any_field() {
    macro_rules! key_of {
        ($ty:ty, $value:expr) => {{
            #[derive(Event, Serialize, Deserialize)]
            #[event(topic = "user.created", key = "type")]
            struct Keyed {
                r#type: $ty,
            }
            Keyed { r#type: $value }.key().map(|key| key.into_owned())
        }};
    }
    assert_eq!(key_of!(String, "Ada".into()).as_deref(), Some("Ada"));
    assert_eq!(key_of!(u64, 7).as_deref(), Some("7"));
    assert_eq!(key_of!(UserId, UserId(7)).as_deref(), Some("u-7"));
    assert_eq!(key_of!(Option<UserId>, Some(UserId(7))).as_deref(), Some("u-7"));
    assert_eq!(key_of!(Option<UserId>, None), None);
}

#[test]
fn headers_are_fields_too() {
    #[derive(Event, Serialize, Deserialize)]
    #[event(topic = "user.created", header(id = "id", tenant_id = "tenant"), header(type = "id"))]
    struct WithHeaders {
        id: UserId,
        tenant: Option<String>,
    }
    let headers = |tenant: Option<&str>| {
        let mut headers = Headers::new();
        WithHeaders { id: UserId(7), tenant: tenant.map(Into::into) }.headers(&mut headers)?;
        Ok::<_, tidings::BoxError>(headers.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(headers(Some("acme")).unwrap(), "id=u-7 tenant-id=acme type=u-7");
    assert_eq!(headers(None).unwrap(), "id=u-7 type=u-7");
    assert!(headers(Some("two\nlines")).is_err());
}

#[test]
fn enums_and_generic_types_are_events() {
    #[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
    #[event(topic = "door")]
    enum Door {
        Opened,
        Closed { by: String },
    }
    let closed = Door::Closed { by: "wind".into() };
    assert_eq!(Door::decode(None, &closed.encode().unwrap()).unwrap(), closed);
    assert_ne!(Door::decode(None, &"\"Opened\"".into()).unwrap(), closed);

    #[derive(Event, Serialize, Deserialize)]
    #[event(topic = "changed", key = "id")]
    #[serde(bound = "T: Serialize + DeserializeOwned")]
    struct Changed<T>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
    {
        id: u64,
        to: T,
    }
    let changed = Changed { id: 1, to: vec![2, 3] };
    assert_eq!(Changed::<Vec<u8>>::decode(None, &changed.encode().unwrap()).unwrap().to, [2, 3]);
}

#[derive(Clone, PartialEq, prost::Message, Event)]
#[event(topic = "user.created", codec = "protobuf", key = "name")]
struct Proto {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(string, tag = "2")]
    name: String,
}

#[test]
fn a_prost_message_is_an_event_in_protobuf() {
    let message = Proto { id: 7, name: "Ada".into() };
    assert_eq!(Proto::CONTENT_TYPE, "application/protobuf");
    assert_eq!(message.key().as_deref(), Some("Ada"));
    assert_eq!(Proto::decode(None, &message.encode().unwrap()).unwrap(), message);
    assert!(Proto::decode(None, &"\u{ff}".into()).is_err());
}

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(topic = "user.created", proto = Proto)]
struct EitherForm {
    id: u64,
}

impl TryFrom<Proto> for EitherForm {
    type Error = &'static str;
    fn try_from(proto: Proto) -> Result<Self, Self::Error> {
        if proto.id == 0 { Err("no id") } else { Ok(Self { id: proto.id }) }
    }
}

#[test]
fn an_event_with_a_prost_form_is_read_from_both() {
    let body = |id| Proto { id, name: String::new() }.encode().unwrap();
    for protobuf in ["application/protobuf", "application/grpc+json", "application/octet-stream"] {
        assert_eq!(EitherForm::decode(Some(protobuf), &body(7)).unwrap(), EitherForm { id: 7 });
    }
    for json in [None, Some("application/json"), Some("application/json-rpc")] {
        assert_eq!(EitherForm::decode(json, &r#"{"id":7}"#.into()).unwrap(), EitherForm { id: 7 });
    }
    assert_eq!(EitherForm::decode(Some("application/protobuf"), &body(0)).unwrap_err().to_string(), "no id");
    assert_eq!(EitherForm { id: 7 }.encode().unwrap(), r#"{"id":7}"#);
}

/// A body that is none, and one of another type, are refused without a value of theirs.
#[cfg(all(feature = "cbor", feature = "msgpack"))]
#[test]
fn a_body_may_be_msgpack_or_cbor() {
    macro_rules! written_as {
        ($codec:literal, $content_type:literal, $format:literal) => {{
            #[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
            #[event(topic = "user.created", codec = $codec)]
            struct User {
                id: u64,
                #[serde(default)]
                name: Option<String>,
            }
            #[derive(Event, Serialize, Deserialize)]
            #[event(topic = "user.created", codec = $codec)]
            struct Another {
                id: String,
            }
            assert_eq!(User::CONTENT_TYPE, $content_type);
            let user = User { id: 7, name: Some("Ада".into()) };
            assert_eq!(User::decode(None, &user.encode().unwrap()).unwrap(), user);
            let another = Another { id: "hunter2".into() }.encode().unwrap();
            for body in [another, b"\xc1hunter2"[..].into(), Default::default()] {
                let error = User::decode(None, &body).unwrap_err().to_string();
                assert!(error.contains($format) && !error.contains("hunter2"), "{error}");
            }
        }};
    }
    written_as!("msgpack", "application/msgpack", "not the expected MessagePack");
    written_as!("cbor", "application/cbor", "not the expected CBOR");
}
