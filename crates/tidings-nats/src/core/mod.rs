//! The engine of `nats://`: NATS core, which carries messages and keeps none.

mod consume;
mod hand;
mod publish;
mod waiting;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Client, Delay, EarliestStart, Fetch, Health, KeyOrder, Link, Message,
    PublishFailures, Settle, Source, Start, Subscription,
    url::{Query, Url},
};
use tokio::time::{Instant, sleep};

use self::waiting::Bounds;
use crate::{
    connect::{ANSWER, Connection, LOOK, Task},
    outgoing,
    settings::{Connect, Wire, wire},
};

const WIRES: [(&str, Wire); 3] = [("cloudevents", Wire::CloudEvents), ("bare", Wire::Bare), ("go-micro", Wire::GoMicro)];

/// What may wait for one subscription, before what comes is dropped.
const BUFFER: Bounds = Bounds { messages: 65_536, bytes: 64 << 20 };

struct Core {
    connection: Arc<Connection>,
    wire: Wire,
    source: Source,
    buffer: Bounds,
    abandoned: Arc<AtomicU64>,
    _keeper: Task,
}

pub(crate) async fn open(url: &Url, client: &Client) -> Result<Arc<dyn Broker>, BrokerError> {
    let mut query = Query::of(url);
    let connect = Connect::read(url, &mut query)?;
    let wire = wire(&mut query, &WIRES)?;
    let buffer = buffer(&mut query)?;
    if !matches!(url.path(), "" | "/") {
        return Err(query.error("there is nothing to name behind the servers; a stream is `jetstream://`'s"));
    }
    query.finish()?;
    let connection = Connection::open("nats", connect, client, buffer.messages).await?;
    let keeper = Task::spawn(keep(Arc::clone(&connection)));
    let source = Source::new("/nats")?;
    Ok(Arc::new(Core { connection, wire, source, buffer, abandoned: Arc::default(), _keeper: keeper }))
}

fn buffer(query: &mut Query<'_>) -> Result<Bounds, BrokerError> {
    let messages = query.parsed("buffer", "a number of messages from 1 on")?.unwrap_or(BUFFER.messages).max(1);
    let bytes = query.size("buffer_bytes")?.map_or(BUFFER.bytes, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    Ok(Bounds { messages, bytes })
}

/// Looks whether the server answers, and tells of what was dropped.
async fn keep(connection: Arc<Connection>) {
    let (mut told, mut tell_at) = (0, Instant::now());
    loop {
        sleep(LOOK).await;
        connection.look().await;
        let dropped = connection.dropped();
        if dropped > told && Instant::now() >= tell_at {
            tracing::warn!(
                dropped = dropped - told,
                "messages were dropped: a subscription's buffer is full, its handlers are slower than what comes in"
            );
            (told, tell_at) = (dropped, Instant::now() + Duration::from_secs(1));
        }
    }
}

impl Broker for Core {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.groups = true;
        capabilities.wildcards = true;
        capabilities.key_order = KeyOrder::Instance;
        capabilities.delay = Delay::None;
        capabilities.earliest_start = EarliestStart::Now;
        capabilities.max_message = outgoing::limit(self.connection.client.max_payload());
        capabilities
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(publish::publish(&self.connection, self.wire, batch))
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        Box::pin(async {
            self.connection.round_trip(ANSWER).await?;
            Ok(self.connection.link())
        })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<(Box<dyn Fetch>, Arc<dyn Settle>), BrokerError>> {
        Box::pin(async move {
            if matches!(subscription.start, Some(Start::First | Start::At(_))) {
                return Err(BrokerError::Unsupported {
                    broker: "nats",
                    capability: "begin with messages of the past: it keeps none",
                    instead: "use `jetstream://`, or `Start::Now`",
                });
            }
            consume::subscribe(self, &subscription).await
        })
    }

    fn health(&self) -> Health {
        self.connection.health()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("dropped", self.connection.dropped()), ("abandoned", self.abandoned.load(Ordering::Relaxed))]
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(self.connection.close())
    }
}
