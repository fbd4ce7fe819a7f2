//! The broker of Tidings that keeps its messages in a SQLite file: `sqlite:PATH`, the embedded durable default.
//!
//! Several processes on one machine share the file, and nothing else has to run. What is published is on the disk before
//! publishing answers; every group gets every message at least once, instances of a group share them, and a key that one
//! instance has in hand is not given to another.
//!
//! ```text
//! sqlite:data/broker.db                        relative to the working folder; the folder is made
//! sqlite:///var/lib/tidings/broker.db          from the root
//! sqlite:my%20data/broker.db?max_age=24h       percent-encoded, with settings
//! ```
//!
//! | setting | default | allowed | what |
//! | --- | --- | --- | --- |
//! | `max_age` | `7d` | 1s to 3650d | how long messages stay, handled or not |
//! | `max_bytes` | `1GiB` | 1MiB to 1TiB | how much is kept; publishing is refused above it, and health warns from 80 % |
//! | `letters_max_bytes` | `1GiB` | 1MiB to 1TiB | the same for dead letters, which stay until dropped |
//! | `max_message` | `1MiB` | 16KiB to 64MiB | the largest message; an event leaves 8 KiB of it to its dead letter |
//! | `poll` | `200ms` | 20ms to 10s | the longest pause between two looks for what other processes wrote |
//!
//! **Groups** begin at the first kept message unless they are told otherwise. A group that stays away longer than `max_age`
//! loses messages: that is logged and counted as `expired`.
//!
//! **A process that dies** frees the lock of its file `PATH-owner-N`, which the kernel does however it ends; another one
//! finds it free within a second and gives what it had in hand to the others. A stopped process is not a dead one.
//!
//! **Loss of power.** Publishing and subscribing are synced before they answer. Claims and settlements are not: they reach
//! the disk with the next of these, or within a second, and what was settled after that comes again.
//!
//! **Clocks.** Retries and retention go by the machine's clock: set back by an hour, a waiting retry comes an hour late.
//!
//! The file must be on a local disk: neither SQLite's log nor the locks work across a network.

mod error;
mod settings;
mod sqlite;

use std::sync::Arc;

use tidings_core::{Broker, BrokerError, Client, url::Url};

/// The schemes of the URLs that [`open`] takes.
pub const SCHEMES: &[&str] = &[sqlite::NAME];

/// Opens the file that the URL names, and makes it when it is absent.
///
/// Has to be called within a tokio runtime, where a task then works on the file until the broker is closed or dropped.
///
/// # Errors
/// - [`BrokerError::Url`]: the URL names no file, or has a setting that is wrong or unknown.
/// - [`BrokerError::Corrupt`]: the file is damaged, another program's, or of another version.
/// - [`BrokerError::Refused`]: the file or its folder cannot be made or written.
/// - [`BrokerError::Unavailable`]: another program keeps the file locked.
pub async fn open(url: &Url, client: &Client) -> Result<Arc<dyn Broker>, BrokerError> {
    let settings = settings::Settings::read(url)?;
    Ok(Arc::new(sqlite::Sqlite::open(settings, client.clone()).await?))
}
