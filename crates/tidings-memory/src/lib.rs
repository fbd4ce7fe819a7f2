//! The in-process broker of Tidings: `memory:`, for tests and for programs of one process.
//!
//! It keeps every promise that a server keeps for as long as the process lives: groups, patterns, order of a key across
//! the instances of a group, delayed retries, attempt counts, recognition of a second publish, and the same limits. What
//! it cannot give is durability: with the process, messages are gone.
//!
//! `memory:` is one broker for the whole process, so that two services in one process hear each other; `memory:NAME` is
//! another. A broker lives as long as somebody has it open.
//!
//! **Bounded.** Each subscription has room for `max_messages` (65,536) and `max_bytes` (64 MiB), both settings of the URL.
//! Whoever publishes more waits until something is settled: a handler that publishes to its own full subscription waits
//! for itself, until its timeout. Where a full subscription has no member, publishing answers
//! [`PublishError::Unavailable`](tidings_core::PublishError::Unavailable) instead, for nobody would ever make room.
//!
//! **Groups** begin with what is published after their first subscription and keep their backlog while their instances are
//! away. What nobody subscribes to is not kept, but for the newest 1,000 dead letters ([`Memory::dead_letters`]).
//!
//! **Held back** until they are due are messages that are published with a delay, of 7 days at most, and as many as one
//! subscription may have. They are published then: groups that begin before that get them. They are gone with the process, as all is.
//!
//! Here: the broker. Not here: retry policies, dead-letter decisions, lanes; those are the framework's.

mod broker;
mod consume;
mod hub;
mod later;
mod letters;
mod publish;
mod queue;
mod recent;
mod routes;
mod settings;

use std::sync::Arc;

use tidings_core::{Broker, BrokerError, Client, url::Url};

pub use broker::Memory;
pub use settings::Settings;

/// The schemes of the URLs that [`open`] takes.
pub const SCHEMES: &[&str] = &[NAME];

const NAME: &str = "memory";

/// Opens `memory:` or `memory:NAME`, with [`Settings`] in the query: `memory:?max_messages=1000`.
///
/// # Errors
/// When the URL or a setting in it is wrong, or the name is in use with other settings.
pub async fn open(url: &Url, _client: &Client) -> Result<Arc<dyn Broker>, BrokerError> {
    Ok(Arc::new(Memory::open(url)?))
}
