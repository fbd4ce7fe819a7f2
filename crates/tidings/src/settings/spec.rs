//! What one service of a process has: its name and its settings.

use std::borrow::Cow;

use super::{
    SettingsError,
    setting::{Fallback, Group, Reach, Setting},
    table::table,
};

/// A service as its settings see it.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// The name given to `init`.
    pub(crate) service: &'static str,
    pub(crate) version: &'static str,
    pub(crate) about: &'static str,
    pub(crate) settings: Vec<Setting>,
    /// Whether it takes the tutorial's `DB_HOST` and its like.
    pub(crate) tutorial_database: bool,
    wrong: Option<Mistake>,
}

/// A mistake of the program, kept until it can be returned.
#[derive(Debug, Clone)]
struct Mistake {
    name: String,
    reason: &'static str,
}

impl Spec {
    pub(crate) fn new(service: &'static str, version: &'static str) -> Self {
        Self { service, version, about: "", settings: table(), tutorial_database: false, wrong: None }
    }

    pub(crate) fn add(&mut self, setting: Setting) {
        if setting.name.is_empty()
            || !setting.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        {
            self.is_wrong(setting.name, "a name has lower-case letters, digits and `-` only");
        } else if self.settings.iter().any(|other| other.name == setting.name) || ["help", "version"].contains(&setting.name) {
            self.is_wrong(setting.name, "there is one of this name already");
        } else {
            self.settings.push(setting);
        }
    }

    pub(crate) fn without(&mut self, group: Group) {
        if matches!(group, Group::Service | Group::Log) {
            self.is_wrong(group.title(), "no service is without this group");
        }
        self.settings.retain(|setting| setting.group != group);
    }

    /// Takes away settings that something else stands for.
    pub(crate) fn remove(&mut self, names: &[&str]) {
        self.settings.retain(|setting| !names.contains(&setting.name));
    }

    pub(crate) fn default(&mut self, name: &str, value: impl Into<Cow<'static, str>>) {
        match self.settings.iter_mut().find(|setting| setting.name == name) {
            Some(setting) => setting.fallback = Fallback::Value(value.into()),
            None => self.is_wrong(name, "a default for a setting that there is not"),
        }
    }

    fn is_wrong(&mut self, name: &str, reason: &'static str) {
        self.wrong.get_or_insert_with(|| Mistake { name: name.to_owned(), reason });
    }

    pub(super) fn get(&self, name: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.name == name)
    }
}

/// Refuses what the program itself got wrong.
pub(super) fn check(specs: &[Spec]) -> Result<(), SettingsError> {
    for (place, spec) in specs.iter().enumerate() {
        if let Some(Mistake { name, reason }) = &spec.wrong {
            return Err(SettingsError::Definition { name: name.clone(), reason: (*reason).to_owned() });
        }
        for other in &specs[..place] {
            if other.service == spec.service {
                let reason = "two services of one process have this name".to_owned();
                return Err(SettingsError::Definition { name: spec.service.to_owned(), reason });
            }
            let clash = |setting: &&Setting| other.get(setting.name).is_some_and(|theirs| theirs.kind != setting.kind);
            if let Some(setting) = spec.settings.iter().find(clash) {
                let reason = format!("{} and {} give it different kinds of values", other.service, spec.service);
                return Err(SettingsError::Definition { name: setting.name.to_owned(), reason });
            }
        }
    }
    Ok(())
}

/// The forms of a setting that reach this service, as flags and keys write them, the most particular first.
pub(super) fn forms(spec: &Spec, setting: &Setting, together: bool) -> Vec<String> {
    let own = (together && setting.reach != Reach::Process).then(|| own_form(spec, setting));
    own.into_iter().chain([setting.name.to_owned()]).collect()
}

/// The form that reaches this service alone.
pub(super) fn own_form(spec: &Spec, setting: &Setting) -> String {
    format!("{}.{}", spec.service, setting.name)
}

/// The variable of a flag: `TIDINGS_USERS_ADMIN` of `users.admin`.
pub(super) fn variable(form: &str) -> String {
    upper("TIDINGS_", form)
}

/// `prefix` and a name in capitals.
pub(super) fn upper(prefix: &str, name: &str) -> String {
    let capital = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    prefix.chars().chain(name.chars().map(capital)).collect()
}
