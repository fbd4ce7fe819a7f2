//! Event-driven microservices: a service says what happened, whoever cares subscribes, the announcement is never lost.

// `#[derive(Event)]` writes paths that begin with `::tidings`, in our own unit tests too.
#[cfg(test)]
extern crate self as tidings;

#[doc(hidden)]
pub mod __private;
mod admin;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod database;
mod delivery;
mod error;
pub mod handlers;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod inbox;
mod metrics;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod outbox;
mod publisher;
mod readiness;
#[cfg(feature = "grpc")]
mod rpc;
mod schemes;
pub mod service;
pub mod settings;
mod telemetry;
mod trace;

pub use error::{Error, Result};
pub use handlers::{Failure, FromRef, Handler, Handlers, Meta, Order, Publish, Reject, Retry, State};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use inbox::Tx;
pub use publisher::Publisher;
pub use service::{Service, run_together};
pub use tidings_core::{
    BoxError, Event, GroupName, Headers, Key, Message, MessageId, PublishError, Source, Start, Text, Topic, TopicPattern,
    TraceContext,
};
pub use tidings_macros::Event;
