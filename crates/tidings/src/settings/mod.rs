//! Settings: one table, from which come the flags, the variables, the file, the help and the documentation.
//!
//! Here: [`Setting`] (a line of the table), [`Settings`] (the values of one service), and how values are found: a flag wins over
//! a variable, a variable over the file, the file over the default. Not here: what a setting does; the part that it concerns
//! reads it.

mod document;
mod error;
mod file;
mod flags;
mod go_micro;
mod resolve;
mod setting;
mod sources;
mod spec;
mod table;
mod value;

use std::{collections::BTreeMap, fmt, sync::Arc};

pub use document::document;
pub use error::{Hint, SettingsError};
pub(crate) use flags::{NoFlags, command, parse, read};
pub(crate) use resolve::{Resolved, resolve};
pub use setting::{Group, Setting};
pub(crate) use spec::Spec;
pub(crate) use value::shown_url;
pub use value::{Address, Bound, FromValue, InvalidAddress, Value};

use sources::Origin;

/// The values of a service's settings; clones are cheap.
#[derive(Clone)]
pub struct Settings(Arc<Inner>);

struct Inner {
    service: &'static str,
    entries: BTreeMap<&'static str, Entry>,
}

/// A setting's value, and where it was given.
struct Entry {
    value: Option<Value>,
    origin: Origin,
    secret: bool,
}

impl Settings {
    fn new(service: &'static str, entries: BTreeMap<&'static str, Entry>) -> Self {
        Self(Arc::new(Inner { service, entries }))
    }

    /// The name given to `init`, whatever `--name` says.
    #[must_use]
    pub fn service(&self) -> &'static str {
        self.0.service
    }

    /// A setting's value; as an `Option` when it may be unset.
    ///
    /// ```no_run
    /// # fn main() -> tidings::Result<()> {
    /// # let service = tidings::Service::init("email", "1.0.0")?;
    /// let wait: std::time::Duration = service.settings().get("wait")?;
    /// let name = service.settings().get::<Option<String>>("name")?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the service has no such setting, it is not set, or it is not of that kind: mistakes of the program, not of who
    /// started it.
    pub fn get<T: FromValue>(&self, name: &str) -> Result<T, SettingsError> {
        let entry = self.0.entries.get(name).ok_or_else(|| SettingsError::NoSuch { name: name.to_owned() })?;
        T::from_value(entry.value.as_ref()).ok_or_else(|| SettingsError::NotOfKind {
            name: name.to_owned(),
            what: T::WHAT,
            set: entry.value.is_some(),
        })
    }

    /// Whether somebody set it: its value is not the default.
    #[must_use]
    pub fn is_given(&self, name: &str) -> bool {
        self.0.entries.get(name).is_some_and(|entry| entry.origin != Origin::Default)
    }

    /// The error for a value that only the service can judge; `allowed` completes "not allowed: …".
    ///
    /// ```no_run
    /// # fn main() -> tidings::Result<()> {
    /// # let service = tidings::Service::init("email", "1.0.0")?;
    /// # let settings = service.settings();
    /// let from: String = settings.get("mail-from")?;
    /// if !from.contains('@') {
    ///     return Err(settings.refuse("mail-from", "an e-mail address").into());
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn refuse(&self, name: &str, allowed: &str) -> SettingsError {
        let what = match self.0.entries.get(name) {
            Some(Entry { value: Some(value), origin, secret: false }) => match origin {
                Origin::Default => format!("{name} = {value}, the default,"),
                origin => origin.with(&value.to_string()),
            },
            Some(Entry { origin, .. }) => format!("the value of {origin}"),
            None => name.to_owned(),
        };
        SettingsError::Value { what, allowed: allowed.to_owned() }
    }

    /// Where a setting was given, as errors name it: `--admin`, `TIDINGS_ADMIN`; by its flag when nobody set it.
    pub(crate) fn origin(&self, name: &str) -> String {
        match self.0.entries.get(name) {
            Some(Entry { origin, .. }) if *origin != Origin::Default => origin.to_string(),
            _ => format!("--{name}"),
        }
    }
}

impl fmt::Debug for Settings {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |entry: &Entry| match &entry.value {
            None => "(not set)".to_owned(),
            Some(_) if entry.secret => "(not shown)".to_owned(),
            Some(value) => value.to_string(),
        };
        f.debug_map().entries(self.0.entries.iter().map(|(name, entry)| (name, shown(entry)))).finish()
    }
}

#[cfg(test)]
mod tests;
