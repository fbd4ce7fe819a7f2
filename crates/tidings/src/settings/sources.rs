//! Where settings are given: flags, variables, the file. Each name in them is known, or refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt,
    path::PathBuf,
};

use super::{
    SettingsError,
    error::Hint,
    file,
    flags::Flags,
    go_micro,
    setting::{Reach, Setting},
    spec::{Spec, forms, own_form, variable},
};

/// Everything that was given, before any of it is read.
#[derive(Debug)]
pub(super) struct Sources {
    flags: Flags,
    variables: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    path: PathBuf,
    together: bool,
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    Flag(String),
    Variable(String),
    Key(String, PathBuf),
}

impl Origin {
    /// The value and where it was given, for errors.
    pub(super) fn with(&self, value: &str) -> String {
        match self {
            Self::Default => format!("the default {value}"),
            Self::Flag(name) => format!("--{name} {value}"),
            Self::Variable(name) => format!("{name}={value}"),
            Self::Key(name, path) => format!("{name} = {value} in {}", path.display()),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::Key(name, path) => write!(f, "{name} in {}", path.display()),
        }
    }
}

/// A value as it was given.
#[derive(Debug, Clone)]
pub(super) struct Given {
    pub(super) text: String,
    pub(super) origin: Origin,
}

impl Sources {
    /// Reads the variables and the file; refuses names that there are not.
    pub(super) fn read(
        specs: &[Spec],
        flags: Flags,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let together = specs.len() > 1;
        let known: BTreeSet<String> =
            specs.iter().flat_map(|spec| spec.settings.iter().flat_map(move |setting| forms(spec, setting, together))).collect();
        let variables = variables(&known, environment)?;
        let mut sources = Self { flags, variables, file: BTreeMap::new(), path: PathBuf::new(), together };
        if let Some(path) = sources.flags.get("config").or(sources.variables.get("TIDINGS_CONFIG")) {
            sources.path = path.into();
            sources.file = file::read(&sources.path, &known)?;
        }
        sources.refuse_for_all(specs)?;
        Ok(sources)
    }

    /// What was given for a setting of a service: a flag before a variable, a variable before the file, a form for the service
    /// before one for all, ours before go-micro's.
    pub(super) fn find(&self, spec: &Spec, setting: &Setting) -> Option<Given> {
        let forms = forms(spec, setting, self.together);
        let flag = |name: &str| {
            let text = self.flags.get(name)?.clone();
            Some(Given { text, origin: Origin::Flag(name.to_owned()) })
        };
        let key = |name: &str| {
            let text = self.file.get(name)?.clone();
            Some(Given { text, origin: Origin::Key(name.to_owned(), self.path.clone()) })
        };
        let theirs = setting.go_micro.filter(|_| !(self.together && setting.reach == Reach::One));
        forms
            .iter()
            .find_map(|form| flag(form))
            .or_else(|| theirs.and_then(flag))
            .or_else(|| forms.iter().find_map(|form| self.variable(&variable(form))))
            .or_else(|| theirs.and_then(|name| self.go_micro_variable(name)))
            .or_else(|| self.tutorial_database(spec, setting))
            .or_else(|| forms.iter().find_map(|form| key(form)))
    }

    /// Where go-micro's NATS is, when somebody says it.
    pub(super) fn broker_address(&self) -> Option<String> {
        let given = || self.go_micro_variable(go_micro::BROKER_ADDRESS).map(|given| given.text);
        self.flags.get(go_micro::BROKER_ADDRESS).cloned().or_else(given)
    }

    fn variable(&self, name: &str) -> Option<Given> {
        let text = self.variables.get(name)?.clone();
        Some(Given { text, origin: Origin::Variable(name.to_owned()) })
    }

    /// An empty one is none, as go-micro has it.
    fn go_micro_variable(&self, flag: &str) -> Option<Given> {
        self.variable(&go_micro::variable(flag)).filter(|given| !given.text.is_empty())
    }

    fn tutorial_database(&self, spec: &Spec, setting: &Setting) -> Option<Given> {
        if !(spec.tutorial_database && setting.name == "database") {
            return None;
        }
        let text = go_micro::database_url(&self.variables)?;
        Some(Given { text, origin: Origin::Variable("DB_HOST".to_owned()) })
    }

    /// go-micro's names that were given and that nobody here has a use for, as they were written.
    pub(super) fn of_no_use(&self, specs: &[Spec], broker_address_used: bool) -> Vec<String> {
        let used = |name: &str| {
            let setting = |setting: &Setting| setting.go_micro == Some(name) && !(self.together && setting.reach == Reach::One);
            match name {
                go_micro::BROKER_ADDRESS => broker_address_used,
                _ => specs.iter().flat_map(|spec| &spec.settings).any(setting),
            }
        };
        let theirs = |flag: &&String| flag.contains('_');
        let flags = self.flags.keys().filter(theirs).filter(|flag| !used(flag)).map(|flag| format!("--{flag}"));
        let passed_over = ["registry", "selector"].iter().filter(|flag| self.flags.contains_key(**flag));
        let variables = self
            .variables
            .keys()
            .filter(|name| name.strip_prefix(go_micro::PREFIX).is_some_and(|name| !used(&name.to_ascii_lowercase())));
        flags.chain(passed_over.map(|flag| format!("--{flag}"))).chain(variables.cloned()).collect()
    }

    /// Where several services share the process, some settings for all would be wrong for all but one.
    fn refuse_for_all(&self, specs: &[Spec]) -> Result<(), SettingsError> {
        if !self.together {
            return Ok(());
        }
        for setting in specs.iter().flat_map(|spec| &spec.settings).filter(|setting| setting.reach == Reach::One) {
            let flag = [Some(setting.name), setting.go_micro].into_iter().flatten().find_map(|name| {
                let text = self.flags.get(name)?.clone();
                Some(Given { text, origin: Origin::Flag(name.to_owned()) })
            });
            let key = || {
                let text = self.file.get(setting.name)?.clone();
                Some(Given { text, origin: Origin::Key(setting.name.to_owned(), self.path.clone()) })
            };
            let given = flag.or_else(|| self.variable(&variable(setting.name))).or_else(key);
            let Some(Given { text, origin }) = given else { continue };
            // A free port each is right for all.
            if setting.name == "admin" && text.ends_with(":0") {
                continue;
            }
            let having = specs.iter().filter(|spec| spec.get(setting.name).is_some());
            let instead: Vec<String> = having
                .map(|spec| match &origin {
                    Origin::Variable(_) => variable(&own_form(spec, setting)),
                    Origin::Key(..) => own_form(spec, setting),
                    _ => format!("--{}", own_form(spec, setting)),
                })
                .collect();
            let what = origin.with(&setting.shown(&text));
            return Err(SettingsError::OneService { what, instead: instead.join(" or ") });
        }
        Ok(())
    }
}

/// The variables that may concern us; of those with our prefix, each is known.
fn variables(
    known: &BTreeSet<String>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, String>, SettingsError> {
    let known: BTreeSet<String> = known.iter().map(|form| variable(form)).collect();
    let mut variables = BTreeMap::new();
    for (name, value) in environment {
        let Ok(name) = name.into_string() else { continue };
        let ours = name.starts_with("TIDINGS_");
        if ours && !known.contains(&name) {
            let hint = Hint::nearest(&name, known.iter().map(String::as_str));
            return Err(SettingsError::Unknown { what: format!("variable {name}"), hint });
        }
        if ours {
            let value = value.into_string().map_err(|_| SettingsError::Value {
                what: format!("the value of {name}"),
                allowed: "it has to be UTF-8".to_owned(),
            })?;
            variables.insert(name, value);
        } else if name.starts_with(go_micro::PREFIX) || go_micro::DATABASE.contains(&name.as_str()) {
            variables.insert(name, value.to_string_lossy().into_owned());
        }
    }
    Ok(variables)
}
