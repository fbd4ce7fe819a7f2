//! What is wrong with the settings: which one, its value, what is allowed.

use std::{fmt, io, path::PathBuf};

/// Why settings could not be taken. Each is one line that names the setting and the way out; no secret is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A flag, variable or key that there is not.
    #[error("unknown {what}{hint}; --help lists what there is")]
    Unknown {
        /// What was given, and where.
        what: String,
        /// What may have been meant.
        hint: Hint,
    },
    /// A value that is not allowed.
    #[error("{what} is not allowed: {allowed}")]
    Value {
        /// The setting and its value, where it was given.
        what: String,
        /// What is.
        allowed: String,
    },
    /// A flag without the value that it takes.
    #[error("{flag} needs a value: {allowed}")]
    NoValue {
        /// The flag.
        flag: String,
        /// What is allowed.
        allowed: String,
    },
    /// A flag that is given more than once.
    #[error("{flag} is given twice")]
    Twice {
        /// The flag.
        flag: String,
    },
    /// A setting for all, where it would be wrong for all services but one.
    #[error("{what} would go to every service in this process; say it to one: {instead}")]
    OneService {
        /// The setting, where it was given.
        what: String,
        /// The forms that name a service.
        instead: String,
    },
    /// The file cannot be read.
    #[error("the settings file {} (--config) cannot be read", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML.
    #[error("the settings file {} (--config) is no TOML at line {line}: {reason}", .path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The arguments cannot be read otherwise.
    #[error("{0}")]
    Arguments(String),
    /// The program asked for a setting that it has not.
    #[error("this service has no setting `{name}`: add it with `Builder::setting`")]
    NoSuch {
        /// What was asked for.
        name: String,
    },
    /// The program asked for a setting as what it is not.
    #[error("the setting `{name}` is {}: it cannot be read as {what}", if *.set { "of another kind" } else { "not set" })]
    NotOfKind {
        /// What was asked for.
        name: String,
        /// As what.
        what: &'static str,
        /// Whether it has a value.
        set: bool,
    },
    /// The program defines the setting wrongly.
    #[error("the setting `{name}` is defined wrongly: {reason}")]
    Definition {
        /// Which.
        name: String,
        /// How.
        reason: String,
    },
}

/// The nearest of the known names, where one is near.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint(Option<String>);

impl Hint {
    /// The name among `known` that `given` may have meant.
    pub(super) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Self {
        const NEAR: f64 = 0.75;
        let near = |name: &str| strsim::normalized_damerau_levenshtein(own_part(given), own_part(name));
        let nearest = known.map(|name| (near(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
        Self(nearest.filter(|(near, _)| *near >= NEAR).map(|(_, name)| name.to_owned()))
    }
}

/// Without the beginning that all variables share, which makes none of them near.
fn own_part(name: &str) -> &str {
    name.strip_prefix("TIDINGS_").unwrap_or(name)
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, " (did you mean {name}?)"))
    }
}
