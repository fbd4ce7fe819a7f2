//! Tidings on NATS: `nats://` is NATS core, fast and forgetful; `jetstream://` keeps what it acknowledged.
//!
//! ```no_run
//! # async fn example() -> Result<(), tidings_core::BrokerError> {
//! use tidings_core::{Client, url};
//!
//! let client = Client { service: "users".into(), instance: "1".into() };
//! let broker = tidings_nats::open(&url::parse("jetstream://127.0.0.1:4222/EVENTS?max_age=30d")?, &client).await?;
//! # Ok(())
//! # }
//! ```
//!
//! nats-server 2.9 (Debian's) or newer. A lost connection is made again for as long as the broker is open.
//!
//! # URL
//! `scheme://[user:password@|token@]host[:4222][,host[:port]…][/STREAM][?setting=value&…]`; user, password and token are
//! percent-encoded. [`tidings_core::url::parse`] reads lists of servers. A wrong setting is an error that names it.
//!
//! | setting | default | |
//! | --- | --- | --- |
//! | `servers` | | more servers, as `host:port,host:port` |
//! | `credentials` | | a file with a JWT and its key, as `nsc` writes it |
//! | `tls` | when the server asks | `required`; `first`: before the server's first word (its `handshake_first`) |
//! | `ca` | the system's | a PEM file with the authorities to trust, instead |
//! | `certificate`, `key` | | PEM files to show to the server |
//! | `inbox` | `_INBOX` | the prefix of inboxes, where a user may not subscribe to others |
//! | `wire` | `cloudevents` | `bare`: the body alone; `go-micro` (`nats://`): what go-micro's NATS plug-in speaks |
//! | `buffer` (`nats://`) | 65536 | messages that may wait in the client for one subscription; more are dropped, and counted |
//! | `buffer_bytes` (`nats://`) | `64MiB` | the same in bytes |
//! | `max_age` (`jetstream://`) | `7d` | how long events are kept, handled or not |
//! | `max_bytes` | `1GiB` | the events kept; then publishing is refused, and from 80 % on health warns |
//! | `letters_max_bytes` | `1GiB` | the dead letters and replays kept |
//! | `replicas` | 1 | of each stream, 1 to 5 |
//! | `duplicates` | `2m` | how long a message is recognised when it is published again |
//! | `timeout` | `3s` | how long an acknowledgement may take |
//! | `window` | 1024 | acknowledgements that may be outstanding |
//! | `domain` | | JetStream's domain, behind a leaf node |
//!
//! # NATS core
//! Delivery is at most once: a message that nobody is subscribed to is gone, and an acknowledgement says nothing to anyone.
//! What is to be tried again waits in this process, and is lost, counted and logged (`abandoned`) when the subscription ends
//! first. A subscription that is slower than what comes in loses what does not fit into `buffer` and `buffer_bytes`: counted (`dropped`) and
//! logged each second; under a flood the number is a lower bound. Groups are queue groups of the group's name (patterns with
//! wildcards, which may overlap, get names of their own), so that others on NATS can share them. The order of a key holds
//! within an instance.
//!
//! `?wire=go-micro` sends and reads `{"Header": {…}, "Body": "<base64>"}` and, of the headers, nothing but the event's `id`
//! and what go-micro itself needs: others may be an RPC caller's own. `?wire=bare` sends no attributes: such a message cannot
//! be recognised, has no key and no trace.
//!
//! # JetStream
//! Events are in one stream (the URL's path, `TIDINGS` if there is none), under `<first word>.>`, dead letters and replays in
//! a second, `<stream>-LETTERS`. Both are made at start; one that exists with other settings is an error that names them.
//! Subjects are added as they are needed, and never taken away. Delivery is at least once: a durable pull consumer a group and
//! pattern, each message with a lease of 10 s that is kept up while it is handled. A message published again within
//! `duplicates` is recognised by its source and id, and counted (`duplicates`). Attempts are counted by the instance, since
//! the server cannot change a message. A group that was away for longer than `max_age` has lost messages: logged, and counted
//! (`expired`, at most so many). The order of a key holds within an instance: after a broken connection what was on its way
//! comes first, which may take 10 s. An acknowledged message of one replica survives `kill -9`, and not the loss of power.
//!
//! # What is not here
//! Retry policies, dead letters, lanes by key: the framework's, over [`Broker`].

mod connect;
mod core;
mod envelope;
mod failure;
mod headers;
mod incoming;
mod jetstream;
mod names;
mod outgoing;
mod settings;

use std::sync::Arc;

use tidings_core::{
    Broker, BrokerError, Client,
    url::{Query, Url},
};

/// The schemes that [`open`] knows.
pub const SCHEMES: &[&str] = &["nats", "jetstream"];

/// Connects to the servers of a URL, each tried once, and on `jetstream://` makes or checks the streams.
///
/// # Errors
/// [`BrokerError::Unavailable`] at once when no server answers, [`BrokerError::Refused`] when one does not let us in or has
/// streams with other settings, [`BrokerError::Url`] when the URL says what is not allowed. None shows a secret.
///
/// # Cancel safety
/// A dropped future leaves no connection behind; a stream that was made stays.
pub async fn open(url: &Url, client: &Client) -> Result<Arc<dyn Broker>, BrokerError> {
    match url.scheme() {
        "nats" => core::open(url, client).await,
        "jetstream" => jetstream::open(url, client).await,
        scheme => Err(Query::of(url).error(format!("unknown scheme `{scheme}`; there are: {}", SCHEMES.join(", ")))),
    }
}
