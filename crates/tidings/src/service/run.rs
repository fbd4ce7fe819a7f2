//! From a service that is set up to one that runs.

use std::{fmt, future::Future, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::Router;
use futures_util::FutureExt;
use tidings_core::Source;
use tokio::{net::TcpListener, task::JoinSet, time::Instant};

use super::{Service, ServiceError, Stopping, core::Core, health, http, listen::listen, patience::patiently, task};
use crate::{
    Error, Result,
    delivery::{Drain, Ground, Limits, SubscribeError, Subscriber},
    handlers::{Registration, Retry},
    readiness::State,
    settings::Address,
};

/// A service that runs, until it is stopped. A drop stops it without draining.
#[must_use = "a drop stops the service without draining"]
pub struct Running {
    pub(super) core: Arc<Core>,
    /// What ends by itself when it is told to stop: servers and subscriptions.
    pub(super) parts: JoinSet<Result<()>>,
    /// Tasks that were told how to learn of the end.
    pub(super) told: JoinSet<Result<()>>,
    /// Tasks that do not know of an end.
    pub(super) endless: JoinSet<Result<()>>,
    /// Relays, which go on when nothing else does.
    pub(super) relays: JoinSet<Result<()>>,
    pub(super) drain: Drain,
    pub(super) relay_drain: Drain,
    pub(super) addresses: Addresses,
    #[cfg(feature = "grpc")]
    pub(super) health: crate::rpc::Health,
    /// What looks at broker and database, so that readiness follows them.
    pub(super) watching: JoinSet<()>,
}

/// Where a service is reached, with the ports that it got.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Addresses {
    pub(super) admin: Option<SocketAddr>,
    pub(super) grpc: Option<SocketAddr>,
    pub(super) http: Option<SocketAddr>,
}

impl Running {
    /// Where gRPC is served, if it is.
    #[must_use]
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        self.addresses.grpc
    }

    /// Where the HTTP router is served, if it is.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.addresses.http
    }

    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.addresses.admin
    }

    #[cfg(all(test, feature = "grpc"))]
    pub(crate) fn core_metrics(&self) -> &crate::metrics::Metrics {
        &self.core.metrics
    }

    /// What its events name as their source.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.core.source
    }

    /// Waits until a part ends that should not.
    ///
    /// # Cancel safety
    /// A dropped future loses nothing.
    pub async fn failure(&mut self) -> Error {
        loop {
            let ended = tokio::select! {
                Some(ended) = self.parts.join_next() => ended,
                Some(ended) = self.told.join_next() => ended,
                Some(ended) = self.endless.join_next() => ended,
                Some(ended) = self.relays.join_next() => ended,
                else => std::future::pending().await,
            };
            match ended {
                // A task that is done.
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(join) => return ServiceError::Ended { part: "a part of the service", source: join.into() }.into(),
            }
        }
    }

    /// Stops it as [`Service::run`] does after a signal.
    ///
    /// # Errors
    /// When a part fails on the way; it ends all the same.
    ///
    /// # Cancel safety
    /// Dropping it ends the rest without draining.
    pub async fn stop(self) -> Result<()> {
        super::drain::drain(self).await
    }
}

/// Waits until a part of one of them ends that should not.
pub(super) async fn first_failure(running: &mut [Running]) -> Error {
    match running {
        [] => std::future::pending().await,
        running => futures_util::future::select_all(running.iter_mut().map(|one| Box::pin(one.failure()))).await.0,
    }
}

pub(super) async fn start(service: Service) -> Result<Running> {
    let begun = Instant::now();
    let core = Arc::clone(&service.core);
    // What can fail by a mistake does so before anything is waited for.
    let registrations = service.handlers.registrations(&core.group).map_err(ServiceError::from)?;
    let admin = core.admin().await?.address;
    let http = listen_http(&core, service.http).await?;
    #[cfg(feature = "grpc")]
    let grpc = match service.grpc.wanted(&core.settings)? {
        Some(address) => Some(service.grpc.at(listen(&core.settings, "address", &address).await?, &core.settings)?),
        None => None,
    };

    let mut running = Running::new(core, admin, !registrations.is_empty());
    if let Some((router, listener, address)) = http {
        running.addresses.http = Some(address);
        running.parts.spawn(http::serve(listener, router, running.drain.clone()));
    }
    #[cfg(feature = "grpc")]
    if let Some(grpc) = grpc {
        running.addresses.grpc = Some(grpc.address);
        // Served before the rest is there, so that health can tell that it is not.
        running.health = grpc.serve(&running.core.metrics, &running.drain, &mut running.parts).await?;
    }
    if let Err(error) = running.begin(registrations, service.tasks).await {
        // What had begun leaves in order; what it says on the way is of no use.
        let _ = running.stop().await;
        return Err(error);
    }
    running.say_ready(begun);
    Ok(running)
}

/// The router's port, if there is a router and somebody said where.
async fn listen_http(core: &Core, router: Option<Router>) -> Result<Option<(Router, TcpListener, SocketAddr)>> {
    let settings = &core.settings;
    let Some(router) = router else {
        if settings.is_given("http") {
            tracing::warn!("{} is of no use: this service has no HTTP router", settings.origin("http"));
        }
        return Ok(None);
    };
    let Some(address) = settings.get::<Option<Address>>("http")? else {
        tracing::info!("the HTTP router is not served: --http says where");
        return Ok(None);
    };
    let (listener, address) = listen(settings, "http", &address).await?;
    Ok(Some((router, listener, address)))
}

impl Running {
    fn new(core: Arc<Core>, admin: SocketAddr, subscribes: bool) -> Self {
        let mut watching = JoinSet::new();
        watching.spawn(health::watch_broker(Arc::clone(&core), subscribes));
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        watching.spawn(health::watch_database(Arc::clone(&core)));
        Self {
            parts: JoinSet::new(),
            told: JoinSet::new(),
            endless: JoinSet::new(),
            relays: JoinSet::new(),
            drain: Drain { stop: core.stop.clone(), ..Drain::default() },
            relay_drain: Drain::default(),
            addresses: Addresses { admin: Some(admin), ..Addresses::default() },
            #[cfg(feature = "grpc")]
            health: crate::rpc::Health::default(),
            watching,
            core,
        }
    }

    async fn begin(&mut self, registrations: Vec<Registration>, tasks: Vec<(&'static str, task::Prepared)>) -> Result<()> {
        self.subscribe(registrations).await?;
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        self.relay().await?;
        self.run_tasks(tasks);
        self.core.lifecycle.set(State::Up);
        #[cfg(feature = "grpc")]
        self.health.follow(self.core.readiness.ready()).await;
        Ok(())
    }
}

impl Running {
    async fn subscribe(&mut self, registrations: Vec<Registration>) -> Result<()> {
        if registrations.is_empty() {
            return Ok(());
        }
        let core = &self.core;
        let broker = core.broker().await?;
        let publisher = core.publisher(broker);
        let ground = Ground::new(Arc::clone(broker), publisher, core.instance.clone(), limits(core)?, core.metrics.clone());
        let wait = core.settings.get("wait")?;
        let part = core.readiness.part("subscriptions");
        for registration in registrations {
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            let registration = core.join(registration).await?;
            let attempt = || Subscriber::subscribe(&ground, registration.clone());
            let subscriber = patiently(wait, &part, "broker", attempt, SubscribeError::is_transient).await?;
            let drain = self.drain.clone();
            self.parts.spawn(async move {
                let ended = subscriber.run(drain).await;
                ended.map_err(|source| ServiceError::Ended { part: "a subscription", source: source.into() }.into())
            });
        }
        part.set(State::Up);
        Ok(())
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    async fn relay(&mut self) -> Result<()> {
        use crate::outbox::relay::Relay;
        let inboxes = self.core.storage.inboxes().clone();
        if !inboxes.is_empty() {
            let keep = self.core.settings.get("inbox-keep")?;
            let broker_keeps = self.core.broker().await?.capabilities().retention;
            for inbox in inboxes {
                self.watching.spawn(inbox.sweep(keep, broker_keeps));
            }
        }
        for (database, outbox) in self.core.storage.outboxes() {
            let broker = Arc::clone(self.core.broker().await?);
            let part = self.core.readiness.part("outbox");
            part.set(State::Up);
            let relay = Relay::new(database, &outbox, broker, self.core.metrics.outbox(), part);
            let Drain { stop, cut, .. } = self.relay_drain.clone();
            self.relays.spawn(async move {
                let ended = relay.run(stop, cut).await;
                ended.map_err(|source| ServiceError::Ended { part: "the relay", source: source.into() }.into())
            });
        }
        Ok(())
    }

    fn run_tasks(&mut self, tasks: Vec<(&'static str, task::Prepared)>) {
        for (name, task::Prepared(kind)) in tasks {
            match kind {
                task::Kind::Endless(future) => self.endless.spawn(named(name, future)),
                task::Kind::Told(make) => self.told.spawn(named(name, make(Stopping(self.drain.stop.clone())))),
            };
        }
    }

    fn say_ready(&self, begun: Instant) {
        let core = &self.core;
        let shown = |address: Option<SocketAddr>| address.map(tracing::field::display);
        tracing::info!(
            service = %core.name,
            version = core.version,
            instance = %core.instance,
            grpc = shown(self.addresses.grpc),
            http = shown(self.addresses.http),
            admin = shown(self.addresses.admin),
            broker = core.broker_shown(),
            database = core.database_shown(),
            after_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "ready"
        );
    }
}

/// An error or a panic of a task, with its name.
async fn named(name: &'static str, future: impl Future<Output = Result<()>> + Send) -> Result<()> {
    let reason = match AssertUnwindSafe(future).catch_unwind().await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(reason)) => reason,
        Err(panic) => Error::from(format!("it panicked: {}", crate::error::panic_text(&*panic))),
    };
    Err(ServiceError::Task { name, reason }.into())
}

fn limits(core: &Core) -> Result<Limits> {
    let settings = &core.settings;
    Ok(Limits {
        in_flight: settings.get("in-flight")?,
        concurrency: settings.get("concurrency")?,
        parked: settings.get("parked")?,
        parked_bytes: settings.get("parked-bytes")?,
        handler_timeout: settings.get("handler-timeout")?,
        transaction_timeout: transaction_timeout(core)?,
        retry: Retry::growing(settings.get("retry-first")?, settings.get("retry-longest")?, settings.get("retry-attempts")?),
    })
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn transaction_timeout(core: &Core) -> Result<Duration> {
    Ok(core.settings.get("transaction-timeout")?)
}

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
fn transaction_timeout(_: &Core) -> Result<Duration> {
    Ok(Duration::ZERO)
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("service", &self.core.name).field("addresses", &self.addresses).finish_non_exhaustive()
    }
}
