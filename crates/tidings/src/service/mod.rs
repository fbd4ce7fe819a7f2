//! A service: a named, versioned program with its lifecycle.
//!
//! Here: how a service is made from settings, what it opens, how its parts start, fail and end together. Not here: what the parts
//! do (`handlers`, `delivery`, `outbox`, `rpc`, `admin`).

mod builder;
mod core;
mod drain;
mod error;
mod health;
mod http;
mod listen;
mod patience;
mod run;
mod signal;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod storage;
mod task;
mod together;

use std::{fmt, future::Future, sync::Arc};

use tidings_core::{Broker, Source};

pub use builder::Builder;
pub use error::ServiceError;
pub use run::Running;
pub use task::{Stopping, Task, TaskOutcome};
pub use together::run_together;

use self::core::Core;
use crate::{
    Publisher, Result,
    handlers::{Complete, Handlers},
    settings::Settings,
};

/// A named, versioned program: settings in; calls, events and an admin port out.
///
/// ```no_run
/// use tidings::{Event, Failure, Handlers, Service};
///
/// #[derive(Event, serde::Serialize, serde::Deserialize)]
/// #[event(topic = "user.created", key = "id")]
/// struct UserCreated { id: String, name: String }
///
/// async fn welcome(user: UserCreated) -> Result<(), Failure> {
///     println!("welcome, {}", user.name);
///     Ok(())
/// }
///
/// #[tokio::main]
/// async fn main() -> tidings::Result<()> {
///     Service::init("email", env!("CARGO_PKG_VERSION"))?.handlers(Handlers::new().on(welcome)).run().await
/// }
/// ```
#[must_use = "a service does nothing until it runs"]
pub struct Service {
    core: Arc<Core>,
    handlers: Handlers,
    tasks: Vec<(&'static str, task::Prepared)>,
    http: Option<axum::Router>,
    #[cfg(feature = "grpc")]
    grpc: crate::rpc::Servers,
}

impl Service {
    /// A service whose settings come from the command line, the environment and a file. Begins logging.
    ///
    /// On `--help` and `--version` it prints and ends the program. [`Service::builder`] is for services with settings, defaults,
    /// a command line, a broker or a pool of their own.
    ///
    /// # Errors
    /// When a setting is unknown, has a value that is not allowed, or the file cannot be read.
    pub fn init(name: &'static str, version: &'static str) -> Result<Self> {
        Self::builder(name, version).init()
    }

    /// A service with settings, defaults, a command line, a broker or a pool of its own.
    pub fn builder(name: &'static str, version: &'static str) -> Builder {
        Builder::new(name, version)
    }

    fn new(builder: Builder, settings: Settings) -> Result<Self> {
        Ok(Self {
            core: Arc::new(Core::new(builder, settings)?),
            handlers: Handlers::new(),
            tasks: Vec::new(),
            http: None,
            #[cfg(feature = "grpc")]
            grpc: crate::rpc::Servers::default(),
        })
    }

    /// Its name: what `--name` says, by default the one given to `init`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.core.name
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.core.settings
    }

    /// What its events name as their source: `/` and its name.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.core.source
    }

    /// The broker in use, opened when it is first asked for; an absent one is waited for as long as `--wait` says.
    ///
    /// # Errors
    /// When it cannot be opened, or is still absent.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing open.
    pub async fn broker(&self) -> Result<Arc<dyn Broker>> {
        self.core.broker().await.cloned()
    }

    /// Publishes straight to the broker, in the service's name.
    ///
    /// # Errors
    /// As [`Service::broker`].
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing open.
    pub async fn publisher(&self) -> Result<Publisher> {
        Ok(self.core.publisher(self.core.broker().await?))
    }

    /// The service's own database, opened when it is first asked for; an absent one is waited for as long as `--wait` says.
    ///
    /// # Errors
    /// When it cannot be opened, or is still absent.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing open.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub async fn database(&self) -> Result<crate::database::Database> {
        self.core.database().await
    }

    /// The outbox in that database, whose tables are made when they are absent; its relay runs with the service.
    ///
    /// # Errors
    /// When the tables cannot be made.
    ///
    /// # Cancel safety
    /// A dropped future may have made the tables.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub async fn outbox(&self, database: &crate::database::Database) -> Result<crate::outbox::Outbox> {
        self.core.outbox(database).await
    }

    /// Completes when the service begins to stop.
    #[must_use]
    pub fn stopping(&self) -> Stopping {
        Stopping(self.core.stop.clone())
    }

    /// Adds handlers of events. They need their state first: [`Handlers::with_state`].
    pub fn handlers(mut self, handlers: impl Complete) -> Self {
        self.handlers = self.handlers.merge(handlers.complete());
        self
    }

    /// Adds a gRPC server as tonic generates it; all of them are served at `--address`, with health.
    ///
    /// Each call is counted, timed, bounded (`--grpc-message`, `--grpc-deadline`) and belongs to its caller's trace, or to a new
    /// one. A generated server refuses messages over 4 MiB by itself: where `--grpc-message` is to allow more, give the server
    /// that too: `.max_decoding_message_size(service.settings().get("grpc-message")?)`.
    #[cfg(feature = "grpc")]
    pub fn grpc<S: crate::rpc::GrpcServer>(mut self, server: S) -> Self {
        self.grpc.add(server);
        self
    }

    /// Lets callers ask for the descriptions of the services: the descriptor set that their code was generated with.
    #[cfg(feature = "grpc")]
    pub fn grpc_reflection(mut self, descriptors: &'static [u8]) -> Self {
        self.grpc.describe(descriptors);
        self
    }

    /// Adds a router of axum, served at `--http`; without that setting it is not served.
    ///
    /// Each request belongs to its caller's trace, or to a new one.
    pub fn http(mut self, router: axum::Router) -> Self {
        self.http = Some(match self.http {
            Some(others) => others.merge(router),
            None => router,
        });
        self
    }

    /// Adds something that runs beside calls and events: a future, or a function of [`Stopping`] that makes one.
    ///
    /// A future is dropped when the service stops, after the last call and the last handler; a function's future is waited for, as
    /// a handler is. An error or a panic ends the service.
    ///
    /// ```no_run
    /// # async fn sweep() {}
    /// # async fn flush() -> Result<(), std::io::Error> { Ok(()) }
    /// # fn example(service: tidings::Service) -> tidings::Service {
    /// use std::time::Duration;
    ///
    /// service
    ///     .task("sweep", async {
    ///         loop {
    ///             sweep().await;
    ///             tokio::time::sleep(Duration::from_secs(60)).await;
    ///         }
    ///     })
    ///     .task("flush", |stopping: tidings::service::Stopping| async {
    ///         stopping.await;
    ///         flush().await
    ///     })
    /// # }
    /// ```
    pub fn task<Kind>(mut self, name: &'static str, task: impl Task<Kind>) -> Self {
        self.tasks.push((name, task.prepare()));
        self
    }

    /// Runs until SIGTERM or SIGINT, then drains; a second signal ends the process at once.
    ///
    /// Draining takes as long as `--drain` says at most: readiness turns false, nothing new is accepted or fetched, calls and
    /// handlers finish or are cut after four fifths of it, what is left goes back to the broker, the relay sends what it can.
    ///
    /// # Errors
    /// When it does not start, or a part ends by itself; it is drained first.
    ///
    /// # Cancel safety
    /// Dropping it stops the service without draining.
    pub async fn run(self) -> Result<()> {
        run_together([self]).await
    }

    /// Runs until `end` completes, then drains. For tests, and for programs that take signals themselves.
    ///
    /// # Errors
    /// As [`Service::run`].
    ///
    /// # Cancel safety
    /// As [`Service::run`].
    pub async fn run_until(self, end: impl Future<Output = ()>) -> Result<()> {
        let mut running = self.start().await?;
        let failure = tokio::select! {
            () = end => None,
            error = running.failure() => Some(error),
        };
        let stopped = running.stop().await;
        failure.map_or(stopped, Err)
    }

    /// Starts it; returns when it is ready.
    ///
    /// # Errors
    /// When a port is in use, the broker or database is still absent after `--wait`, or a handler asks for what the broker cannot
    /// do.
    ///
    /// # Cancel safety
    /// A dropped future stops what was started.
    pub async fn start(self) -> Result<Running> {
        run::start(self).await
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.core.name).field("handlers", &self.handlers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
