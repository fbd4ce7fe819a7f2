//! Handlers on a broker without a service around them: what `tidings-testing` makes its test service of.

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::{Broker, GroupName, Source};
use tokio::{task::JoinSet, time::timeout};

use super::{Clock, Drain, Ground, Limits, Subscriber, Watch};
use crate::{Handlers, Publisher, Result, metrics::Metrics};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::{
    database::Database,
    handlers::Registration,
    inbox::{self, Joined},
    outbox::{Outbox, OutboxOptions, relay::Relay},
    readiness::Readiness,
};

/// Handlers that run as they do in a service, with its defaults, until it is stopped or dropped.
pub struct Harness {
    drain: Drain,
    runs: JoinSet<Result<()>>,
}

/// What bounds each subscription, as a service's settings of these names do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The most messages that run or wait for a slot.
    pub in_flight: usize,
    /// The most that wait for their next attempt or behind one that does.
    pub parked: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        let Limits { in_flight, parked, .. } = Limits::default();
        Self { in_flight, parked }
    }
}

impl Harness {
    /// Subscribes the handlers in the name of `service`; `watch` is told of every attempt.
    ///
    /// # Errors
    /// Those that a service would end with at its start.
    pub async fn start(broker: Arc<dyn Broker>, service: &str, handlers: Handlers, watch: Arc<dyn Watch>) -> Result<Self> {
        Self::by(Clock::default(), broker, service, handlers, watch).await
    }

    /// The same, by a clock that may be moved.
    ///
    /// # Errors
    /// As [`Harness::start`].
    pub async fn by(
        clock: Clock,
        broker: Arc<dyn Broker>,
        service: &str,
        handlers: Handlers,
        watch: Arc<dyn Watch>,
    ) -> Result<Self> {
        let ground = Self::ground(broker, service, Limits::default())?;
        Self::on(Ground { watch: Some(watch), clock, ..ground }, service, handlers).await
    }

    /// The same by the machine's clock, within these bounds.
    ///
    /// # Errors
    /// As [`Harness::start`].
    pub async fn bounded(bounds: Bounds, broker: Arc<dyn Broker>, service: &str, handlers: Handlers) -> Result<Self> {
        let Bounds { in_flight, parked } = bounds;
        let limits = Limits { in_flight, parked, ..Limits::default() };
        Self::on(Self::ground(broker, service, limits)?, service, handlers).await
    }

    fn ground(broker: Arc<dyn Broker>, service: &str, limits: Limits) -> Result<Ground> {
        let publisher = Publisher::new(Arc::clone(&broker), Source::new(&format!("/{service}"))?);
        Ok(Ground::new(broker, publisher, service.into(), limits, Metrics::new()))
    }

    async fn on(ground: Ground, service: &str, handlers: Handlers) -> Result<Self> {
        let (drain, mut runs) = (Drain::default(), JoinSet::new());
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        let mut storage = Storage::new(&ground, service);
        for registration in handlers.registrations(&GroupName::of_service(service)?)? {
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            let registration = storage.join(registration, &drain, &mut runs).await?;
            let subscriber = Subscriber::subscribe(&ground, registration).await?;
            let drain = drain.clone();
            runs.spawn(async move { Ok(subscriber.run(drain).await?) });
        }
        Ok(Self { drain, runs })
    }

    /// Stops: what runs is finished, for as long as that takes.
    ///
    /// # Errors
    /// When a subscription ended by itself, or did not end in order.
    pub async fn stop(mut self) -> Result<()> {
        self.drain.stop.cancel();
        self.ended().await
    }

    /// Stops as a service does: what still runs after `time` is cut and handed back.
    ///
    /// # Errors
    /// As [`Harness::stop`].
    pub async fn stop_within(mut self, time: Duration) -> Result<()> {
        self.drain.stop.cancel();
        if let Ok(ended) = timeout(time, self.ended()).await {
            return ended;
        }
        self.drain.cut.cancel();
        self.ended().await
    }

    async fn ended(&mut self) -> Result<()> {
        while let Some(ended) = self.runs.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// The outboxes of the databases that handlers have transactions in.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
struct Storage<'a> {
    ground: &'a Ground,
    service: &'a str,
    outboxes: Vec<(Database, Outbox)>,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl<'a> Storage<'a> {
    fn new(ground: &'a Ground, service: &'a str) -> Self {
        Self { ground, service, outboxes: Vec::new() }
    }

    async fn join(&mut self, registration: Registration, drain: &Drain, runs: &mut JoinSet<Result<()>>) -> Result<Registration> {
        let Some(database) = registration.handler.transactions_in().pop() else { return Ok(registration) };
        let known = self.outboxes.iter().find(|(other, _)| other.is(&database)).map(|(_, outbox)| outbox.clone());
        let outbox = match known {
            Some(outbox) => outbox,
            None => {
                inbox::prepare(&database).await?;
                let source = Source::new(&format!("/{}", self.service))?;
                let outbox = Outbox::open(&database, self.service, source, OutboxOptions::default()).await?;
                let part = Readiness::new().part("outbox");
                let broker = Arc::clone(&self.ground.broker);
                let relay = Relay::new(database.clone(), &outbox, broker, self.ground.metrics.outbox(), part);
                let Drain { stop, cut, .. } = drain.clone();
                runs.spawn(async move { Ok(relay.run(stop, cut).await?) });
                self.outboxes.push((database.clone(), outbox.clone()));
                outbox
            }
        };
        let joined = Some(Joined::of(&registration, database, outbox, &self.ground.instance));
        Ok(Registration { joined, ..registration })
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("subscriptions", &self.runs.len()).finish_non_exhaustive()
    }
}
