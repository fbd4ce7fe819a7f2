//! Why a service does not start, or ends before it was told to.

use std::io;

use tidings_core::BrokerError;

use crate::{Error, handlers::InvalidHandlers};

/// Why a service does not start, or ends before it was told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// A port cannot be listened on.
    #[error("cannot listen on {address} ({setting}){}", if .source.kind() == io::ErrorKind::AddrInUse { ": another program has it; choose another port, or 0 for a free one" } else { "" })]
    Listen {
        /// Where it was to be.
        address: String,
        /// The setting that says so.
        setting: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The broker cannot be opened.
    #[error("the broker ({setting}) cannot be opened")]
    Broker {
        /// The setting that names it.
        setting: String,
        /// Why.
        #[source]
        source: BrokerError,
    },
    /// The broker, or the database, is still absent after the wait.
    #[error("the {part} ({setting}) is still absent after {waited} (--wait)")]
    Absent {
        /// The part.
        part: &'static str,
        /// The setting that names it.
        setting: String,
        /// How long it was waited for.
        waited: String,
        /// What it said at last.
        #[source]
        source: tidings_core::BoxError,
    },
    /// The database cannot be opened.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    #[error("the database ({setting}) cannot be opened")]
    Database {
        /// The setting that names it.
        setting: String,
        /// Why.
        #[source]
        source: crate::database::DatabaseError,
    },
    /// The handlers cannot be registered.
    #[error(transparent)]
    Handlers(#[from] InvalidHandlers),
    /// A subscription cannot be begun, or ended by itself.
    #[error("subscription of {group} to {pattern}")]
    Subscription {
        /// The group.
        group: String,
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: BrokerError,
    },
    /// A task failed.
    #[error("the task {name} failed: {reason}")]
    Task {
        /// Its name.
        name: &'static str,
        /// Why, with the causes.
        reason: Error,
    },
    /// A part of the service ended by itself.
    #[error("{part} ended")]
    Ended {
        /// Which part.
        part: &'static str,
        /// Why.
        #[source]
        source: tidings_core::BoxError,
    },
    /// The reflection cannot describe the services.
    #[cfg(feature = "grpc")]
    #[error("the descriptors given to `grpc_reflection` cannot be read")]
    Reflection(#[source] tidings_core::BoxError),
}
