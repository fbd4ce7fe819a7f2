//! What stands in `#[event(…)]`, checked.

use proc_macro2::Span;
use syn::{DeriveInput, Error, Ident, LitStr, Path, Result, ext::IdentExt, meta::ParseNestedMeta, spanned::Spanned};

/// The attributes of one event.
pub(crate) struct Attributes {
    pub(crate) topic: LitStr,
    pub(crate) event_type: Option<LitStr>,
    pub(crate) key: Option<LitStr>,
    pub(crate) codec: Codec,
    pub(crate) proto: Option<Path>,
    pub(crate) headers: Vec<(LitStr, LitStr)>,
    /// Whether it is one of several events.
    pub(crate) one_of: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Codec {
    Json,
    Protobuf,
    MsgPack,
    Cbor,
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
    one_of: Option<Span>,
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
        found.event_type.as_ref().map_or(Ok(()), check_type)?;
        let codec = match found.codec.as_ref().map(|codec| (codec.value(), codec.span())) {
            None => Codec::Json,
            Some((codec, _)) if codec == "json" => Codec::Json,
            Some((codec, _)) if codec == "protobuf" => Codec::Protobuf,
            Some((codec, _)) if codec == "msgpack" => Codec::MsgPack,
            Some((codec, _)) if codec == "cbor" => Codec::Cbor,
            Some((codec, span)) => {
                return Err(Error::new(span, format!("no codec `{codec}`: `json`, `protobuf`, `msgpack` or `cbor`")));
            }
        };
        let own = found.event_type.is_some() || found.key.is_some() || found.codec.is_some() || found.proto.is_some();
        match found.one_of {
            Some(span) if own || !found.headers.is_empty() => {
                return Err(Error::new(span, "with `one_of` there is only `topic` here: the rest is said by each of the events"));
            }
            _ => {}
        }
        Ok(Self {
            topic,
            event_type: found.event_type,
            key: found.key,
            codec,
            proto: found.proto,
            headers: found.headers,
            one_of: found.one_of.is_some(),
        })
    }
}

impl Found {
    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        let name = meta.path.get_ident().map(|ident| ident.unraw().to_string()).unwrap_or_default();
        match name.as_str() {
            "topic" => once(meta, &name, &mut self.topic),
            "type" => once(meta, &name, &mut self.event_type),
            "key" => once(meta, &name, &mut self.key),
            "codec" => once(meta, &name, &mut self.codec),
            "proto" => once(meta, &name, &mut self.proto),
            "one_of" => {
                self.one_of = Some(meta.path.span());
                Ok(())
            }
            "header" => meta.parse_nested_meta(|header| {
                let name = header_name(&header)?;
                self.headers.push((name, header.value()?.parse()?));
                Ok(())
            }),
            _ => Err(meta
                .error(format!("no `{name}` here: there are `topic`, `type`, `key`, `codec`, `proto`, `header` and `one_of`"))),
        }
    }
}

fn once<T: syn::parse::Parse>(meta: &ParseNestedMeta<'_>, name: &str, place: &mut Option<T>) -> Result<()> {
    if place.is_some() {
        return Err(meta.error(format!("`{name}` is given twice")));
    }
    *place = Some(meta.value()?.parse()?);
    Ok(())
}

fn header_name(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    let ident: &Ident = meta.path.require_ident()?;
    // A Rust name has no dashes, a header's has no underscores by custom.
    let name = ident.unraw().to_string().replace('_', "-");
    if !name.is_ascii() {
        return Err(Error::new(ident.span(), "a header's name is ASCII letters, digits and `_`, which is written `-`"));
    }
    Ok(LitStr::new(&name, ident.span()))
}

/// The rule of `tidings_core::Topic`, so that a wrong topic is an error of the compiler.
fn check_topic(topic: &LitStr) -> Result<()> {
    let fail = |why: &str| Err(Error::new(topic.span(), why));
    let text = topic.value();
    let mut words = text.split('.');
    if text.len() > 160 {
        return fail("a topic has at most 160 bytes");
    }
    if text.contains(['*', '>']) {
        return fail("an event has one topic: patterns are for `.on_topic(…)`");
    }
    if !words.clone().all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')) {
        return fail("a topic is words of letters, digits, `-` and `_`, joined by dots");
    }
    if matches!(words.next(), Some("dead" | "again")) {
        return fail("the first words `dead` and `again` are reserved for dead letters and replays");
    }
    Ok(())
}

/// CloudEvents asks for a type that is not empty; no wire carries control characters.
fn check_type(event_type: &LitStr) -> Result<()> {
    let text = event_type.value();
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        return Err(Error::new(event_type.span(), "a type is 1 to 255 bytes without control characters"));
    }
    Ok(())
}
