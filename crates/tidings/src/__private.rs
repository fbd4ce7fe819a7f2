//! What `#[derive(Event)]` writes calls to, and `tidings-testing`. Not for use by hand; it may change at any time.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

pub use crate::delivery::{Attempt, Bounds, Clock, Ended, Harness, Watch};
pub use ::bytes;
use tidings_core::{BoxError, Headers};

/// The media type of JSON bodies.
pub const JSON: &str = "application/json";
/// The media type of protobuf bodies.
pub const PROTOBUF: &str = "application/protobuf";

/// The media type of MessagePack bodies.
pub const MSGPACK: &str = "application/msgpack";
/// The media type of CBOR bodies, <https://www.rfc-editor.org/rfc/rfc8949>.
pub const CBOR: &str = "application/cbor";

/// Writes JSON.
pub fn json_encode<E: Serialize>(event: &E) -> Result<Bytes, BoxError> {
    Ok(serde_json::to_vec(event)?.into())
}

/// Reads JSON, whatever the content type is called.
pub fn json_decode<E: DeserializeOwned>(body: &[u8]) -> Result<E, BoxError> {
    serde_json::from_slice(body).map_err(|error| NotJson::of(&error).into())
}

/// Writes MessagePack, with the names of the fields: a field may be added or go.
#[cfg(feature = "msgpack")]
pub fn msgpack_encode<E: Serialize>(event: &E) -> Result<Bytes, BoxError> {
    Ok(rmp_serde::to_vec_named(event)?.into())
}

/// Reads MessagePack.
#[cfg(feature = "msgpack")]
pub fn msgpack_decode<E: DeserializeOwned>(body: &[u8]) -> Result<E, BoxError> {
    rmp_serde::from_slice(body).map_err(|error| NotReadable::of("MessagePack", &error).into())
}

/// Writes CBOR.
#[cfg(feature = "cbor")]
pub fn cbor_encode<E: Serialize>(event: &E) -> Result<Bytes, BoxError> {
    Ok(cbor4ii::serde::to_vec(Vec::new(), event)?.into())
}

/// Reads CBOR.
#[cfg(feature = "cbor")]
pub fn cbor_decode<E: DeserializeOwned>(body: &[u8]) -> Result<E, BoxError> {
    cbor4ii::serde::from_slice(body).map_err(|error| NotReadable::of("CBOR", &error).into())
}

/// Whether two names are one, for the compiler.
#[must_use]
pub const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether no name comes twice, for the compiler.
#[must_use]
pub const fn all_differ(names: &[&str]) -> bool {
    let mut one = 0;
    while one < names.len() {
        let mut other = one + 1;
        while other < names.len() {
            if same(names[one], names[other]) {
                return false;
            }
            other += 1;
        }
        one += 1;
    }
    true
}

/// Why a message is none of several events.
#[must_use]
pub fn without_a_type() -> BoxError {
    "its type is none of those that are handled, or the wire carries no types".into()
}

/// Writes protobuf.
pub fn proto_encode<M: prost::Message>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}

/// Reads protobuf, with or without the five bytes that gRPC puts before a message.
pub fn proto_decode<M: prost::Message + Default>(body: &[u8]) -> Result<M, BoxError> {
    match (M::decode(body), without_grpc_prefix(body)) {
        (Ok(message), _) => Ok(message),
        (Err(error), None) => Err(error.into()),
        (Err(error), Some(rest)) => M::decode(rest).map_err(|_| error.into()),
    }
}

fn without_grpc_prefix(body: &[u8]) -> Option<&[u8]> {
    let (&[flag, a, b, c, d], rest) = body.split_first_chunk::<5>()?;
    let length = u32::from_be_bytes([a, b, c, d]);
    (flag == 0 && usize::try_from(length) == Ok(rest.len())).then_some(rest)
}

/// Whether a content type names protobuf: also in the words that go-micro has used for it.
#[must_use]
pub fn is_protobuf(content_type: Option<&str>) -> bool {
    let Some(said) = content_type else { return false };
    let said = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let grpc = said == "application/grpc" || said.starts_with("application/grpc+");
    grpc || ["application/protobuf", "application/x-protobuf", "application/proto-rpc", "application/octet-stream"]
        .contains(&said.as_str())
}

/// Adds a header whose value is a field of the event.
pub fn header(to: &mut Headers, name: &'static str, value: &dyn std::fmt::Display) -> Result<(), BoxError> {
    Ok(to.append(tidings_core::Text::from_static(name), value.to_string())?)
}

/// A body that is not the JSON that was expected: where and what, but no value of the body.
#[derive(Debug, thiserror::Error)]
#[error("not the expected JSON at line {line}, column {column}: {what}")]
struct NotJson {
    line: usize,
    column: usize,
    what: String,
}

impl NotJson {
    /// serde's own text quotes values (`invalid type: string "hunter2", expected u32`): only what speaks of the type is kept.
    fn of(error: &serde_json::Error) -> Self {
        let what = if error.is_syntax() || error.is_eof() {
            "malformed JSON".to_owned()
        } else {
            without_values(&error.to_string()).unwrap_or_else(|| "a value that is not allowed".to_owned())
        };
        Self { line: error.line(), column: error.column(), what }
    }
}

/// What serde says of a type, without the value.
fn without_values(said: &str) -> Option<String> {
    if let Some((_, field)) = said.split_once("missing field `") {
        return Some(format!("missing field `{}`", field.split('`').next().unwrap_or_default()));
    }
    let (_, expected) = said.rsplit_once(", expected ")?;
    Some(format!("expected {}", expected.split(" at line ").next().unwrap_or_default()))
}

/// A body that is not what was expected, of a format without lines: what, but no value of the body.
#[cfg(any(feature = "msgpack", feature = "cbor"))]
#[derive(Debug, thiserror::Error)]
#[error("not the expected {format}: {what}")]
struct NotReadable {
    format: &'static str,
    what: String,
}

#[cfg(any(feature = "msgpack", feature = "cbor"))]
impl NotReadable {
    fn of(format: &'static str, error: &dyn std::error::Error) -> Self {
        let what = without_values(&error.to_string()).unwrap_or_else(|| "malformed, or a value that is not allowed".to_owned());
        Self { format, what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct User {
        #[expect(dead_code, reason = "only read")]
        id: u32,
    }

    #[test]
    fn an_error_says_where_and_quotes_no_value() {
        let of = |body: &str| json_decode::<User>(body.as_bytes()).unwrap_err().to_string();
        assert_eq!(of("{\"id\": \"hunter2, expected hunter2\"}"), "not the expected JSON at line 1, column 34: expected u32");
        assert_eq!(of("{}"), "not the expected JSON at line 1, column 2: missing field `id`");
        assert!(of("{\"id\": hunter2}").contains("malformed JSON at") || of("{\"id\": hunter2}").ends_with("malformed JSON"));
        assert!(!of("{\"id\": hunter2}").contains("hunter2"));
    }

    #[test]
    fn protobuf_is_read_behind_grpcs_prefix_too() {
        let body = prost::Message::encode_to_vec(&"name".to_owned());
        let mut framed = vec![0];
        framed.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        framed.extend(&body);
        assert_eq!(proto_decode::<String>(&body).unwrap(), "name");
        assert_eq!(proto_decode::<String>(&framed).unwrap(), "name");
        assert!(proto_decode::<String>(b"\xff\xff").is_err());
    }

    #[test]
    fn go_micros_words_for_protobuf_are_known() {
        for said in [
            "application/protobuf",
            "application/grpc+json",
            "application/grpc",
            "application/proto-rpc",
            "Application/Octet-Stream; x",
        ] {
            assert!(is_protobuf(Some(said)), "{said}");
        }
        for said in ["application/json", "application/json-rpc", "application/grpcx"] {
            assert!(!is_protobuf(Some(said)), "{said}");
        }
    }
}
