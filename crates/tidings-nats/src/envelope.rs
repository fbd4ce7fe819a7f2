//! go-micro's NATS plug-in: a message as the JSON object `{"Header": {…}, "Body": "<base64>"}`, in every version from 2017 on.
//!
//! What is written suits every Go reader: the broker API as well as registered subscribers. What is read may lack anything.
//! Headers that are not named here may be an RPC caller's own, its token among them: they are neither sent, nor read.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{
    Engine,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use tidings_core::{Message, Topic, wire::Incoming};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/protobuf";
/// A flag and the length, before a message in gRPC.
const GRPC_PREFIX: usize = 5;

/// Go itself refuses what is not padded; there is no need to.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[derive(Serialize)]
struct Envelope<'a> {
    /// Sorted, as Go writes it.
    #[serde(rename = "Header")]
    header: BTreeMap<&'static str, Cow<'a, str>>,
    #[serde(rename = "Body")]
    body: String,
}

/// A message as go-micro sends one.
pub(crate) fn write(message: &Message) -> Result<Bytes, serde_json::Error> {
    let id: Cow<'_, str> = message.id().to_string().into();
    let mut header = BTreeMap::from([
        ("Micro-Topic", message.topic().as_str().into()),
        ("Micro-Id", id.clone()),
        ("Micro-ID", id.clone()),
        ("ce-id", id),
        ("ce-source", message.source().as_str().into()),
    ]);
    let key = message.key().map(|key| key.as_str());
    if let Some(key) = key {
        header.insert("ce-partitionkey", key.into());
    }
    if let Some(id) = message.headers().get("id").or(key) {
        header.insert("id", id.into());
    }
    if let Some(content_type) = message.content_type() {
        // Readers compare it whole, so no charset.
        header.insert("Content-Type", essence(content_type).into());
    }
    if let Some(trace) = message.trace() {
        header.insert("traceparent", trace.traceparent().as_str().to_owned().into());
    }
    serde_json::to_vec(&Envelope { header, body: BASE64_STANDARD.encode(message.body()) }).map(Bytes::from)
}

/// Reads an envelope; `None` when the payload is none, and so a message in another form.
pub(crate) fn read(topic: &Topic, payload: &[u8]) -> Option<Incoming> {
    let object: BTreeMap<String, &RawValue> = serde_json::from_slice(payload).ok()?;
    // Go tells the two names from others, but not by case.
    let member = |name: &str| {
        let exact = object.get(name);
        exact.or_else(|| object.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value))
    };
    let (header, body) = (member("Header"), member("Body"));
    if header.is_none() && body.is_none() {
        return None;
    }
    let header = header.map_or(Some(None), |raw| serde_json::from_str(raw.get()).ok())?;
    let header = Header(header.unwrap_or_default());
    let encoded: Option<Cow<'_, str>> = body.map_or(Some(None), |raw| serde_json::from_str(raw.get()).ok())?;
    let body = LENIENT.decode(encoded.unwrap_or_default().as_bytes()).ok()?.into();
    Some(header.describe(topic, body))
}

/// Names are told apart by case: a caller's request counter `Micro-Id` may stand beside a true `Micro-ID`.
struct Header(BTreeMap<String, Value>);

impl Header {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    fn describe(&self, topic: &Topic, body: Bytes) -> Incoming {
        let (content_type, body) = normalised(self.get("Content-Type"), body);
        let mut incoming = Incoming::new(topic.clone(), body);
        incoming.attribute("datacontenttype", &content_type);
        if let Some(id) = self.identity() {
            incoming.attribute("id", id);
        }
        if let (Some(_), Some(source)) = (self.get("ce-id"), self.get("ce-source")) {
            incoming.attribute("source", source);
        }
        if let Some(key) = self.get("ce-partitionkey").or_else(|| self.get("id")) {
            incoming.attribute("partitionkey", key);
        }
        if let Some(traceparent) = self.get("traceparent") {
            incoming.attribute("traceparent", traceparent);
        }
        if let Some(id) = self.get("id") {
            incoming.header("id", id);
        }
        incoming
    }

    /// The message's id: who takes "0", "1" for identities drops real events.
    fn identity(&self) -> Option<&str> {
        let counter = |id: &&str| id.bytes().all(|byte| byte.is_ascii_digit());
        self.get("ce-id")
            .or_else(|| self.get("Micro-ID"))
            .or_else(|| self.get("Micro-Id").filter(|id| !counter(id)))
            .or_else(|| self.get("X-Micro-Id"))
    }
}

/// What go-micro calls a body, in the words of everyone else; absent is JSON.
fn normalised(content_type: Option<&str>, body: Bytes) -> (Cow<'_, str>, Bytes) {
    let said = essence(content_type.unwrap_or(JSON)).to_ascii_lowercase();
    match said.as_str() {
        "" | JSON | "application/json-rpc" => (JSON.into(), body),
        PROTOBUF | "application/proto-rpc" | "application/octet-stream" => (PROTOBUF.into(), body),
        // Even `grpc+json` carries protobuf there.
        grpc if grpc.starts_with("application/grpc") => (PROTOBUF.into(), without_prefix(body)),
        _ => (said.into(), body),
    }
}

fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// Takes gRPC's prefix away where there is one: no bare message begins with a zero.
fn without_prefix(body: Bytes) -> Bytes {
    match body.first_chunk::<GRPC_PREFIX>() {
        Some([0, length @ ..]) if u32::from_be_bytes(*length) as usize == body.len() - GRPC_PREFIX => body.slice(GRPC_PREFIX..),
        _ => body,
    }
}

#[cfg(test)]
mod tests;
