//! The structured form: the whole message as one JSON object.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use memchr::memmem;
use serde_json::value::RawValue;

use super::Incoming;

const SPECVERSION: &[u8] = b"\"specversion\"";

static FINDER: LazyLock<memmem::Finder<'static>> = LazyLock::new(|| memmem::Finder::new(SPECVERSION));

/// Whether a body without attributes may be one; the parser decides.
pub(super) fn looks_so(body: &[u8]) -> bool {
    let start = body.iter().position(|byte| !byte.is_ascii_whitespace());
    start.is_some_and(|start| body[start] == b'{' && FINDER.find(&body[start..]).is_some())
}

/// Moves the attributes of a structured body into `to` and answers its data; leaves `to` alone when it is none.
pub(super) fn read(body: &Bytes, to: &mut Incoming) -> Option<Bytes> {
    let object: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(body).ok()?;
    if !["specversion", "id", "source", "type"].iter().all(|name| object.contains_key(*name)) {
        return None;
    }
    // The envelope's own media type says nothing about the data: without `datacontenttype` that is JSON.
    to.content_type = Some(crate::Text::from_static("application/json"));
    let mut data = Bytes::new();
    for (name, value) in &object {
        match name.as_ref() {
            "data" | "data_base64" => {}
            name => to.attribute(name, &plain(value)),
        }
    }
    if let Some(value) = object.get("data") {
        data = value_bytes(body, value, to.content_type.as_deref());
    } else if let Some(value) = object.get("data_base64") {
        data = BASE64_STANDARD.decode(plain(value).as_bytes()).ok()?.into();
    }
    Some(data)
}

/// A string without its quotes; any other value as JSON writes it.
fn plain(value: &RawValue) -> Cow<'_, str> {
    serde_json::from_str::<String>(value.get()).map_or(Cow::Borrowed(value.get()), Cow::Owned)
}

/// JSON data as the bytes that stand in the body, uncopied; a string of another media type as its text.
fn value_bytes(body: &Bytes, value: &RawValue, content_type: Option<&str>) -> Bytes {
    let json = content_type.is_none_or(|said| said.contains("json"));
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) if !json => text.into(),
        _ => body.slice_ref(value.get().as_bytes()),
    }
}
