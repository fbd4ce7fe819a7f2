//! One line of the table: what a setting is called, what it takes, what it is for.

use std::borrow::Cow;

use super::value::{Bound, Bounds, Kind, Value};

/// A setting: a flag `--mail-from`, a variable `TIDINGS_MAIL_FROM`, a key `mail-from` in the file.
///
/// A service adds its own with [`Builder::setting`](crate::service::Builder::setting) and reads them with
/// [`Settings::get`](super::Settings::get).
///
/// In the value of a path or URL, `<data>` stands for `--data`, and `<service>` for the name given to `init`.
///
/// ```
/// use std::time::Duration;
/// use tidings::settings::Setting;
///
/// let settings = [
///     Setting::url("mail").default("file:<data>/mail").help("Where mail goes: file:FOLDER, smtp:// or smtps://"),
///     Setting::switch("require-auth").help("Refuse calls without a token"),
///     Setting::duration("mail-timeout").default("20s")
///         .between(Duration::from_millis(100), Duration::from_secs(600))
///         .help("How long sending one mail may take"),
/// ];
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) bounds: Bounds,
    pub(crate) fallback: Fallback,
    pub(crate) help: &'static str,
    pub(crate) secret: bool,
    pub(crate) group: Group,
    pub(crate) reach: Reach,
    pub(crate) go_micro: Option<&'static str>,
}

/// What a setting is when nobody sets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Nothing.
    None,
    /// This.
    Value(Cow<'static, str>),
    /// What is said here; the service makes it.
    Made(&'static str),
}

/// What a setting is about: its heading in the help, and what a service can be without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Group {
    /// The service itself: its name, data, admin port, start and end.
    Service,
    /// The broker, and how events are handled.
    Events,
    /// The service's own database.
    Database,
    /// The gRPC server.
    Grpc,
    /// The HTTP router.
    Http,
    /// What is logged.
    Log,
    /// What the service itself adds.
    Own,
}

/// Whom a setting that names no service reaches where several share a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The process; there is no form for one service.
    Process,
    /// Every service that has it.
    All,
    /// Nobody: it would be wrong for all but one.
    One,
}

impl Group {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::Events => "Events",
            Self::Database => "Database",
            Self::Grpc => "gRPC",
            Self::Http => "HTTP",
            Self::Log => "Log",
            Self::Own => "Its own",
        }
    }
}

impl Setting {
    fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            bounds: Bounds::NONE,
            fallback: Fallback::None,
            help: "",
            secret: false,
            group: Group::Own,
            reach: Reach::All,
            go_micro: None,
        }
    }

    /// Text that is not empty.
    pub fn text(name: &'static str) -> Self {
        Self::new(name, Kind::Text)
    }

    /// On or off, off unless its default says otherwise: a bare flag, or `true` and `false`.
    pub fn switch(name: &'static str) -> Self {
        Self::new(name, Kind::Switch).default("false")
    }

    /// A whole number.
    pub fn number(name: &'static str) -> Self {
        Self::new(name, Kind::Number)
    }

    /// An amount of bytes: `512`, `64KiB`, `16MiB`, `1GiB`.
    pub fn size(name: &'static str) -> Self {
        Self::new(name, Kind::Size)
    }

    /// A length of time: `250ms`, `30s`, `5m`, `24h`, `7d`.
    pub fn duration(name: &'static str) -> Self {
        Self::new(name, Kind::Duration)
    }

    /// A file or folder.
    pub fn path(name: &'static str) -> Self {
        Self::new(name, Kind::Path)
    }

    /// A URL; its login is never printed.
    pub fn url(name: &'static str) -> Self {
        Self::new(name, Kind::Url)
    }

    /// Where to listen: `HOST:PORT`, `:PORT` for every interface, port 0 for a free one.
    pub fn address(name: &'static str) -> Self {
        Self::new(name, Kind::Address)
    }

    /// One of a few words.
    pub fn choice(name: &'static str, words: &'static [&'static str]) -> Self {
        Self::new(name, Kind::Choice(words))
    }

    /// What it is when nobody sets it, as it would be written; without one it is not set.
    pub fn default(self, value: impl Into<Cow<'static, str>>) -> Self {
        Self { fallback: Fallback::Value(value.into()), ..self }
    }

    /// The least and the most that are allowed: numbers, bytes or times.
    pub fn between(self, least: impl Into<Bound>, most: impl Into<Bound>) -> Self {
        Self { bounds: Bounds { least: least.into().0, most: most.into().0 }, ..self }
    }

    /// What it is for, in one line, with its unit.
    pub fn help(self, help: &'static str) -> Self {
        Self { help, ..self }
    }

    /// Its value is never printed.
    pub fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(super) fn made(self, what: &'static str) -> Self {
        Self { fallback: Fallback::Made(what), ..self }
    }

    pub(super) fn group(self, group: Group) -> Self {
        Self { group, ..self }
    }

    pub(super) fn reach(self, reach: Reach) -> Self {
        Self { reach, ..self }
    }

    /// What go-micro calls it: the flag `--server_name` and the variable `MICRO_SERVER_NAME`.
    pub(super) fn go_micro(self, name: &'static str) -> Self {
        Self { go_micro: Some(name), ..self }
    }

    pub(super) fn read(&self, text: &str) -> Option<Value> {
        self.kind.read(text, self.bounds)
    }

    pub(super) fn allowed(&self) -> String {
        self.kind.allowed(self.bounds)
    }

    /// The default, as the help and the documentation show it.
    pub(super) fn default_shown(&self) -> Option<&str> {
        match &self.fallback {
            Fallback::None => None,
            Fallback::Value(value) => Some(value),
            Fallback::Made(what) => Some(what),
        }
    }

    /// A value that was given for it, as errors may show it.
    pub(super) fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.kind {
            _ if self.secret => "(not shown)".into(),
            Kind::Url => super::value::shown_url(text).into(),
            _ => text.into(),
        }
    }
}
