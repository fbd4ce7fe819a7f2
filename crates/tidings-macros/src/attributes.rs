//! What stands in `#[event(…)]`, checked.

use proc_macro2::Span;
use syn::{DeriveInput, Error, Ident, LitStr, Path, Result, ext::IdentExt, meta::ParseNestedMeta};

/// The attributes of one event.
pub(crate) struct Attributes {
    pub(crate) topic: LitStr,
    pub(crate) event_type: Option<LitStr>,
    pub(crate) key: Option<LitStr>,
    pub(crate) codec: Codec,
    pub(crate) proto: Option<Path>,
    pub(crate) headers: Vec<(LitStr, LitStr)>,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Codec {
    Json,
    Protobuf,
}

/// While they are read: each may come once.
#[derive(Default)]
struct Found {
    topic: Option<LitStr>,
    event_type: Option<LitStr>,
    key: Option<LitStr>,
    codec: Option<LitStr>,
    proto: Option<Path>,
    headers: Vec<(LitStr, LitStr)>,
}

impl Attributes {
    pub(crate) fn of(input: &DeriveInput) -> Result<Self> {
        let mut found = Found::default();
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("event")) {
            attribute.parse_nested_meta(|meta| found.take(&meta))?;
        }
        let Some(topic) = found.topic else {
            return Err(Error::new(input.ident.span(), "an event needs a topic: #[event(topic = \"user.created\")]"));
        };
        check_topic(&topic)?;
        let codec = match found.codec.as_ref().map(|codec| (codec.value(), codec.span())) {
            None => Codec::Json,
            Some((codec, _)) if codec == "json" => Codec::Json,
            Some((codec, _)) if codec == "protobuf" => Codec::Protobuf,
            Some((codec, span)) => return Err(Error::new(span, format!("no codec `{codec}`: `json` or `protobuf`"))),
        };
        Ok(Self { topic, event_type: found.event_type, key: found.key, codec, proto: found.proto, headers: found.headers })
    }
}

impl Found {
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(|ident| ident.unraw().to_string()).unwrap_or_default();
        match name.as_str() {
            "topic" => once(meta, &mut self.topic),
            "type" => once(meta, &mut self.event_type),
            "key" => once(meta, &mut self.key),
            "codec" => once(meta, &mut self.codec),
            "proto" => once(meta, &mut self.proto),
            "header" => meta.parse_nested_meta(|header| {
                let name = header_name(&header)?;
                self.headers.push((name, header.value()?.parse()?));
                Ok(())
            }),
            _ => Err(meta.error("unknown: there are topic, type, key, codec, proto and header")),
        }
    }
}

fn once<T: syn::parse::Parse>(meta: &ParseNestedMeta<'_>, place: &mut Option<T>) -> Result<()> {
    if place.is_some() {
        return Err(meta.error("given twice"));
    }
    *place = Some(meta.value()?.parse()?);
    Ok(())
}

fn header_name(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let ident: &Ident = meta.path.require_ident()?;
    // A Rust name has no dashes, a header's has no underscores by custom.
    let name = ident.unraw().to_string().replace('_', "-");
    Ok(LitStr::new(&name, ident.span()))
}

/// The rule of `tidings_core::Topic`, so that a wrong topic is an error of the compiler.
fn check_topic(topic: &LitStr) -> Result<()> {
    let fail = |span: Span, why: &str| Err(Error::new(span, why));
    let text = topic.value();
    let mut words = text.split('.');
    if text.len() > 160 {
        return fail(topic.span(), "a topic has at most 160 bytes");
    }
    if text.contains(['*', '>']) {
        return fail(topic.span(), "an event has one topic: patterns are for `.on_topic(…)`");
    }
    if !words.clone().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')) {
        return fail(topic.span(), "a topic is words of letters, digits, `-` and `_`, joined by dots");
    }
    if matches!(words.next(), Some("dead" | "again")) {
        return fail(topic.span(), "the first words `dead` and `again` are reserved for dead letters and replays");
    }
    Ok(())
}
