//! A service before its settings are read.

use std::{borrow::Cow, ffi::OsString, fmt, future::Future, sync::Arc};

use clap::ArgMatches;
use tidings_core::{Broker, BrokerError, Client, url::Url};

use super::{Service, together};
use crate::{
    Result,
    schemes::Schemes,
    settings::{Group, Setting, Spec, command},
};

/// A service whose settings are not read yet: for what [`Service::init`] does not do.
///
/// ```no_run
/// use tidings::{Service, settings::{Group, Setting}};
///
/// # fn main() -> tidings::Result<()> {
/// let service = Service::builder("email", env!("CARGO_PKG_VERSION"))
///     .about("Sends a mail to every new user")
///     .without(Group::Grpc)
///     .default("admin", "127.0.0.1:9102")
///     .setting(Setting::url("mail").default("file:<data>/mail").help("Where mail goes: file:FOLDER, smtp://, smtps://"))
///     .init()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct Builder {
    spec: Spec,
    pub(super) schemes: Schemes,
    pub(super) broker: Option<Arc<dyn Broker>>,
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(super) database: Option<crate::database::Database>,
    pub(super) given: Given,
}

/// Where flags and variables come from, when not from the process.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) arguments: Option<Vec<OsString>>,
    pub(super) matches: Option<ArgMatches>,
    pub(super) environment: Option<Vec<(OsString, OsString)>>,
}

impl Builder {
    pub(super) fn new(name: &'static str, version: &'static str) -> Self {
        Self {
            spec: Spec::new(name, version),
            schemes: Schemes::ours(),
            broker: None,
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            database: None,
            given: Given::default(),
        }
    }

    /// What the service is for, in one line of its help.
    pub fn about(mut self, about: &'static str) -> Self {
        self.spec.about = about;
        self
    }

    /// Adds a setting of the service's own.
    pub fn setting(mut self, setting: Setting) -> Self {
        self.spec.add(setting);
        self
    }

    /// Leaves out the settings of something that this service has not; giving one is an error then.
    ///
    /// [`Group::Service`] and [`Group::Log`] are never left out.
    pub fn without(mut self, group: Group) -> Self {
        self.spec.without(group);
        self
    }

    /// Changes the default of a setting, written as it would be given.
    pub fn default(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.spec.default(name, value);
        self
    }

    /// Takes its database from the variables of go-micro's tutorial too: `DB_HOST`, `DB_USER`, `DB_NAME`, `DB_PASSWORD`, `DB_PASS`.
    pub fn tutorial_database(mut self) -> Self {
        self.spec.tutorial_database = true;
        self
    }

    /// Adds a broker of your own: `--broker SCHEME:…` opens it.
    ///
    /// ```no_run
    /// # use std::sync::Arc;
    /// # use tidings::Service;
    /// # use tidings_core::{Broker, BrokerError, Client, url::Url};
    /// # async fn open(url: &Url, client: &Client) -> Result<Arc<dyn Broker>, BrokerError> { unimplemented!() }
    /// # fn main() -> tidings::Result<()> {
    /// let service = Service::builder("email", "1.0.0")
    ///     .scheme("carrier-pigeon", async |url, client| open(&url, &client).await)
    ///     .init()?;
    /// # Ok(()) }
    /// ```
    pub fn scheme<F>(mut self, scheme: &'static str, open: impl Fn(Url, Client) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Arc<dyn Broker>, BrokerError>> + Send + 'static,
    {
        self.schemes.add(scheme, open);
        self
    }

    /// Uses a broker that is open already; there is no `--broker` then.
    pub fn broker(mut self, broker: Arc<dyn Broker>) -> Self {
        self.spec.remove(&["broker"]);
        self.broker = Some(broker);
        self
    }

    /// Uses a database that is open already, or a pool; there is no `--database` then.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub fn database(mut self, database: impl Into<crate::database::Database>) -> Self {
        self.spec.without(Group::Database);
        self.database = Some(database.into());
        self
    }

    /// Reads these arguments instead of the program's; the first is the program's name.
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.given.arguments = Some(arguments.into_iter().map(Into::into).collect());
        self
    }

    /// Reads these variables instead of the program's.
    pub fn environment<N: Into<OsString>, V: Into<OsString>>(mut self, variables: impl IntoIterator<Item = (N, V)>) -> Self {
        self.given.environment = Some(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// The command line of the service, for a program that adds its own flags and subcommands; it goes back to
    /// [`Builder::matches`].
    ///
    /// ```no_run
    /// # fn main() -> tidings::Result<()> {
    /// let builder = tidings::Service::builder("users", "1.0.0");
    /// let matches = builder.command().subcommand(clap::Command::new("list")).get_matches();
    /// if let Some(("list", _)) = matches.subcommand() {
    ///     return Ok(());
    /// }
    /// let service = builder.matches(matches).init()?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn command(&self) -> clap::Command {
        command(std::slice::from_ref(&self.spec))
    }

    /// Takes the flags from a command line that was parsed with [`Builder::command`].
    pub fn matches(mut self, matches: ArgMatches) -> Self {
        self.given.matches = Some(matches);
        self
    }

    /// Reads the settings and begins logging. On `--help` and `--version` it prints and ends the program.
    ///
    /// # Errors
    /// When a setting is unknown, has a value that is not allowed, or the file cannot be read.
    pub fn init(self) -> Result<Service> {
        let [service] = together::init([self])?;
        Ok(service)
    }

    pub(crate) fn spec(&self) -> &Spec {
        &self.spec
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("service", &self.spec.service).field("schemes", &self.schemes).finish_non_exhaustive()
    }
}
