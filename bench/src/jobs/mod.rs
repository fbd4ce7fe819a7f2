//! The comparisons: what is measured, against what, on which server.

mod consume;
mod core;
mod get;
mod idle;
mod jetstream;
mod latency;
mod memory;
mod outbox;
mod relay;
pub(crate) mod sent;
mod testing;
mod transaction;

use std::{future::Future, pin::Pin, time::Duration};

use anyhow::Result;
use tidings_testing::servers::{Nats, Postgres};

/// How long a variant runs, and on what.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    pub(crate) time: Duration,
    /// A server's URL, or empty.
    pub(crate) place: String,
}

type Job = fn(Window) -> Pin<Box<dyn Future<Output = Result<f64>>>>;

/// What does a variant's job.
pub(crate) enum Run {
    /// A process of this program.
    Here(Job),
    /// The program of `--peers`, a workspace of its own: what it builds on is no dependency of Tidings.
    Peers,
}

/// One way to do a job.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// The ratio that is asked of it.
    pub(crate) at_least: Option<f64>,
    pub(crate) run: Run,
}

/// A job, and the ways to do it; the first is the raw client.
pub(crate) struct Comparison {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) ground: On,
    pub(crate) current_thread: bool,
    pub(crate) variants: Vec<Variant>,
}

/// What a comparison needs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum On {
    Nothing,
    Nats,
    /// An empty stream for each variant.
    JetStream,
    /// A stream that is full of messages, read by each variant.
    FullStream(Wire),
    Postgres,
    /// Both: a database for each variant, and JetStream.
    PostgresAndJetStream,
}

/// Which attributes messages carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    CloudEvents,
    Bare,
}

/// The servers that a comparison runs on; they end with it.
pub(crate) enum Ground {
    Nothing,
    Nats(Nats),
    /// A new server for each variant: their streams of dead letters would overlap.
    JetStream(Option<Nats>),
    /// The server lives as long as this does.
    Stream {
        _nats: Nats,
        place: String,
    },
    Postgres(Box<Postgres>),
    PostgresAndJetStream(Box<Postgres>, Option<Nats>),
}

impl Ground {
    /// `None` when a server is not installed.
    pub(crate) async fn prepare(on: On, seconds: u64) -> Result<Option<Self>> {
        Ok(Some(match on {
            On::Nothing => Self::Nothing,
            On::Nats => match Nats::start().await {
                Some(nats) => Self::Nats(nats),
                None => return Ok(None),
            },
            On::JetStream => Self::JetStream(None),
            On::FullStream(wire) => {
                let Some(nats) = Nats::with_jetstream().await else { return Ok(None) };
                let place = consume::fill(&nats.url(), wire, seconds).await?;
                Self::Stream { _nats: nats, place }
            }
            On::Postgres => match Postgres::start().await {
                Some(postgres) => Self::Postgres(durable(postgres).await),
                None => return Ok(None),
            },
            On::PostgresAndJetStream => match Postgres::start().await {
                Some(postgres) => Self::PostgresAndJetStream(durable(postgres).await, None),
                None => return Ok(None),
            },
        }))
    }

    /// Where one variant of one round works; `None` when its server is not installed.
    pub(crate) async fn place(&mut self) -> Result<Option<String>> {
        if let Self::JetStream(nats) | Self::PostgresAndJetStream(_, nats) = self {
            *nats = None;
            *nats = Nats::with_jetstream().await;
        }
        Ok(match self {
            Self::Nothing => Some(String::new()),
            Self::Nats(nats) => Some(nats.url()),
            Self::JetStream(nats) => nats.as_ref().map(Nats::url),
            Self::Stream { place, .. } => Some(place.clone()),
            Self::Postgres(postgres) => Some(postgres.database().await),
            Self::PostgresAndJetStream(_, None) => None,
            Self::PostgresAndJetStream(postgres, Some(nats)) => Some(format!("{} {}", postgres.database().await, nats.url())),
        })
    }
}

/// The test kit's servers do not wait for the disk; here that wait is part of what is measured.
async fn durable(mut postgres: Postgres) -> Box<Postgres> {
    let url = postgres.database().await;
    for setting in ["fsync", "synchronous_commit", "full_page_writes"] {
        postgres.sql(&url, &format!("ALTER SYSTEM SET {setting} = on")).await;
    }
    postgres.stop().await;
    postgres.restart().await;
    Box::new(postgres)
}

/// All comparisons, in the order of the page.
pub(crate) fn all() -> Vec<Comparison> {
    let jobs = [
        memory::all(),
        core::all(),
        jetstream::all(),
        consume::all(),
        outbox::all(),
        transaction::all(),
        relay::all(),
        latency::all(),
        idle::all(),
        testing::all(),
        get::all(),
    ];
    jobs.into_iter().flatten().collect()
}

/// The rival's way to do the job of a comparison; its program knows the job by the comparison's name.
fn peer() -> Variant {
    peer_way("RustStream")
}

/// Another way of the rival's, which its program knows by `name`.
fn peer_way(name: &'static str) -> Variant {
    Variant { name, at_least: None, run: Run::Peers }
}

/// A variant from an async function.
macro_rules! variant {
    ($name:literal, $run:expr) => {
        $crate::jobs::Variant { name: $name, at_least: None, run: $crate::jobs::Run::Here(|window| Box::pin($run(window))) }
    };
    ($name:literal >= $least:literal, $run:expr) => {
        $crate::jobs::Variant {
            name: $name,
            at_least: Some($least),
            run: $crate::jobs::Run::Here(|window| Box::pin($run(window))),
        }
    };
}
use variant;
