//! From what was given to the values of each service.

use std::{collections::BTreeMap, ffi::OsString};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    Entry, Settings, SettingsError,
    flags::Flags,
    go_micro,
    setting::{Fallback, Setting},
    sources::{Given, Origin, Sources},
    spec::{self, Spec},
    value::Kind,
};

/// The settings of each service of the process, and what is to be said about them.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) settings: Vec<Settings>,
    /// go-micro's names that were given and are of no use here.
    pub(crate) of_no_use: Vec<String>,
}

/// Gives every setting of every service its value.
pub(crate) fn resolve(
    specs: &[Spec],
    flags: Flags,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Resolved, SettingsError> {
    spec::check(specs)?;
    let sources = Sources::read(specs, flags, environment)?;
    let mut broker_address_used = false;
    let settings = specs
        .iter()
        .map(|spec| settings_of(spec, &sources, &mut broker_address_used))
        .collect::<Result<Vec<_>, SettingsError>>()?;
    Ok(Resolved { settings, of_no_use: sources.of_no_use(specs, broker_address_used) })
}

fn settings_of(spec: &Spec, sources: &Sources, broker_address_used: &mut bool) -> Result<Settings, SettingsError> {
    let data = spec.get("data").and_then(|setting| given(spec, setting, sources)).map_or(String::new(), |given| given.text);
    let mut entries = BTreeMap::new();
    for setting in &spec.settings {
        let Some(mut given) = given(spec, setting, sources) else {
            entries.insert(setting.name, Entry { value: None, origin: Origin::Default, secret: setting.secret });
            continue;
        };
        if setting.name == "broker" && given.text == go_micro::NATS {
            given.text = go_micro::nats_url(sources.broker_address().as_deref());
            *broker_address_used = true;
        }
        let text = filled(setting.kind, &given.text, spec.service, &data);
        let value = setting.read(&text).ok_or_else(|| refusal(setting, &given))?;
        entries.insert(setting.name, Entry { value: Some(value), origin: given.origin, secret: setting.secret });
    }
    Ok(Settings::new(spec.service, entries))
}

fn given(spec: &Spec, setting: &Setting, sources: &Sources) -> Option<Given> {
    sources.find(spec, setting).or_else(|| match &setting.fallback {
        Fallback::Value(text) => Some(Given { text: text.clone().into_owned(), origin: Origin::Default }),
        Fallback::None | Fallback::Made(_) => None,
    })
}

fn refusal(setting: &Setting, given: &Given) -> SettingsError {
    let mut allowed = setting.allowed();
    if setting.name == "broker" {
        allowed.push_str(", or go-micro's word nats");
    }
    match given.origin {
        Origin::Default => {
            SettingsError::Definition { name: setting.name.to_owned(), reason: format!("its default is not allowed: {allowed}") }
        }
        _ => SettingsError::Value { what: given.origin.with(&setting.shown(&given.text)), allowed },
    }
}

/// With what `<data>` and `<service>` stand for, in paths and URLs.
fn filled(kind: Kind, text: &str, service: &str, data: &str) -> String {
    /// What would end a URL's path, or mean something in it.
    const IN_URL: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#');
    match kind {
        Kind::Path => text.replace("<service>", service).replace("<data>", data),
        Kind::Url => text.replace("<service>", service).replace("<data>", &utf8_percent_encode(data, IN_URL).to_string()),
        _ => text.to_owned(),
    }
}
