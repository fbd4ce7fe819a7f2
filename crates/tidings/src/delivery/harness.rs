//! Handlers on a broker without a service around them: what `tidings-testing` makes its test service of.

use std::{fmt, sync::Arc};

use tidings_core::{Broker, GroupName, Source};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Drain, Ground, Limits, Subscriber, Watch};
use crate::{Handlers, Publisher, Result, metrics::Metrics};

/// Handlers that run as they do in a service, with its defaults, until it is stopped or dropped.
pub struct Harness {
    stop: CancellationToken,
    runs: JoinSet<Result<()>>,
}

impl Harness {
    /// Subscribes the handlers in the name of `service`; `watch` is told of every attempt.
    ///
    /// # Errors
    /// Those that a service would end with at its start.
    pub async fn start(broker: Arc<dyn Broker>, service: &str, handlers: Handlers, watch: Arc<dyn Watch>) -> Result<Self> {
        let publisher = Publisher::new(Arc::clone(&broker), Source::new(&format!("/{service}"))?);
        let ground = Ground::new(broker, publisher, service.into(), Limits::default(), Metrics::new());
        let ground = Ground { watch: Some(watch), ..ground };
        let (drain, mut runs) = (Drain::default(), JoinSet::new());
        for registration in handlers.registrations(&GroupName::of_service(service)?)? {
            let subscriber = Subscriber::subscribe(&ground, registration).await?;
            let drain = drain.clone();
            runs.spawn(async move { Ok(subscriber.run(drain).await?) });
        }
        Ok(Self { stop: drain.stop, runs })
    }

    /// Stops: what runs is finished, for as long as that takes.
    ///
    /// # Errors
    /// When a subscription ended by itself, or did not end in order.
    pub async fn stop(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.runs.join_next().await {
            ended??;
        }
        Ok(())
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("subscriptions", &self.runs.len()).finish_non_exhaustive()
    }
}
