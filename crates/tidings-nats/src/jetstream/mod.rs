//! The engine of `jetstream://`: NATS JetStream, which keeps what it acknowledged.

mod api;
mod consume;
mod consumer;
mod gate;
mod held;
mod publish;
mod pulls;
mod settings;
mod settle;
mod stream;
mod window;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Client, Delay, EarliestStart, Fetch, Health, KeyOrder, Link, Message,
    PublishFailures, Settle, Subscription, url::Url,
};
use tokio::time::sleep;

use self::{
    api::Api,
    consumer::MAX_UNSETTLED,
    publish::Publisher,
    settings::Settings,
    stream::{Spec, Streams},
};
use crate::{
    connect::{Connection, LOOK, Task},
    outgoing,
    settings::Wire,
};

/// Room for all that two requests bring.
const BUFFER: usize = 65_536;
/// Between two looks at how full the streams are.
const LOOK_AT_STREAMS: Duration = Duration::from_secs(5);
/// From here on an operator should look.
const NEARLY_FULL: u64 = 80;

struct JetStream {
    connection: Arc<Connection>,
    streams: Arc<Streams>,
    publisher: Publisher,
    wire: Wire,
    expired: AtomicU64,
    warning: Arc<Mutex<Option<String>>>,
    _keeper: Task,
}

pub(crate) async fn open(url: &Url, client: &Client) -> Result<Arc<dyn Broker>, BrokerError> {
    let (connect, settings) = Settings::read(url)?;
    let connection = Connection::open("jetstream", connect, client, BUFFER).await?;
    check_version(&connection)?;
    let streams = Arc::new(Streams::open(Api::new(Arc::clone(&connection), settings.domain.as_deref()), &settings).await?);
    let publisher = Publisher::open(Arc::clone(&streams), &settings).await?;
    let warning = Arc::default();
    let keeper = Task::spawn(keep(Arc::clone(&connection), Arc::clone(&streams), Arc::clone(&warning)));
    let expired = AtomicU64::new(0);
    Ok(Arc::new(JetStream { connection, streams, publisher, wire: settings.wire, expired, warning, _keeper: keeper }))
}

/// Older servers have another way to make consumers, and pass over in silence what they do not know.
fn check_version(connection: &Connection) -> Result<(), BrokerError> {
    let version = connection.client.server_info().version;
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or_default());
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    if (major, minor) >= (2, 9) {
        return Ok(());
    }
    Err(connection.refused(format!("nats-server {version} is too old for `jetstream://`: 2.9 or newer")))
}

/// Looks whether the server answers, and how full its streams are: side by side, for over a link that is silent the second takes
/// long, and the first has to tell when the link is back.
async fn keep(connection: Arc<Connection>, streams: Arc<Streams>, warning: Arc<Mutex<Option<String>>>) {
    let answers = async {
        loop {
            connection.look().await;
            sleep(LOOK).await;
        }
    };
    let have_room = async {
        loop {
            warn_when_full(&streams, &warning).await;
            sleep(LOOK_AT_STREAMS).await;
        }
    };
    tokio::join!(answers, have_room);
}

async fn warn_when_full(streams: &Streams, warning: &Mutex<Option<String>>) {
    let mut full = None;
    for spec in [&streams.main, &streams.letters] {
        full = full.or(nearly_full(&streams.api, spec).await);
    }
    let mut known = warning.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some(full), None) = (&full, &*known) {
        tracing::warn!("{full}: publishing is refused when it is full");
    }
    *known = full;
}

async fn nearly_full(api: &Api, spec: &Spec) -> Option<String> {
    let bytes = api.stream(&spec.name).await.ok()?.state.bytes;
    let percent = bytes.saturating_mul(100) / spec.max_bytes.max(1);
    (percent >= NEARLY_FULL).then(|| format!("stream {} is {percent} % full", spec.name))
}

impl Broker for JetStream {
    fn name(&self) -> &'static str {
        "jetstream"
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.durable = true;
        capabilities.groups = true;
        capabilities.wildcards = true;
        capabilities.key_order = KeyOrder::Instance;
        capabilities.delay = Delay::Native;
        capabilities.deduplication = true;
        capabilities.earliest_start = EarliestStart::First;
        capabilities.retention = self.streams.main.retention();
        capabilities.max_message = outgoing::limit(self.connection.client.max_payload());
        capabilities.max_unsettled = MAX_UNSETTLED;
        capabilities
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(self.publisher.publish(batch))
    }

    /// Nothing is left to do: what was published is stored.
    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        let open = if self.connection.is_closed() { Err(settle::closed()) } else { Ok(Link(0)) };
        Box::pin(std::future::ready(open))
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<(Box<dyn Fetch>, Arc<dyn Settle>), BrokerError>> {
        Box::pin(async move { consume::subscribe(&self.streams, self.wire, &subscription, &self.expired).await })
    }

    fn health(&self) -> Health {
        match self.connection.health() {
            Health::Up => {
                let warning = self.warning.lock().unwrap_or_else(PoisonError::into_inner);
                warning.clone().map_or(Health::Up, Health::Warning)
            }
            down => down,
        }
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        vec![("duplicates", self.publisher.duplicates()), ("expired", self.expired.load(Ordering::Relaxed))]
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(self.connection.close())
    }
}
