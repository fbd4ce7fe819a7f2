//! gRPC health: what the standard calls tell of each service, and of `""`, all of them.

use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

/// The health of a service's servers: `NOT_SERVING` until it is ready.
#[derive(Default)]
pub(crate) struct Health {
    reporter: Option<HealthReporter>,
    names: Vec<&'static str>,
    following: Option<AbortOnDropHandle<()>>,
}

impl Health {
    /// Of servers that do not serve yet.
    pub(crate) async fn of(names: &[&'static str]) -> Self {
        // The empty name is the whole server; tonic begins with it serving.
        let names = names.iter().copied().chain([""]).collect();
        let health = Self { reporter: Some(HealthReporter::new()), names, following: None };
        health.set(ServingStatus::NotServing).await;
        health
    }

    pub(super) fn server(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone().unwrap_or_default()))
    }

    /// Follows the service's readiness from now on.
    pub(crate) async fn follow(&mut self, mut ready: watch::Receiver<bool>) {
        let health = Self { reporter: self.reporter.clone(), names: self.names.clone(), following: None };
        let now = status(*ready.borrow_and_update());
        health.set(now).await;
        self.following = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            while ready.changed().await.is_ok() {
                let now = status(*ready.borrow_and_update());
                health.set(now).await;
            }
        })));
    }

    /// Serves no more, whatever else is ready.
    pub(crate) async fn not_serving(&mut self) {
        self.following = None;
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        let Some(reporter) = &self.reporter else { return };
        for name in &self.names {
            reporter.set_service_status(*name, status).await;
        }
    }
}

fn status(ready: bool) -> ServingStatus {
    if ready { ServingStatus::Serving } else { ServingStatus::NotServing }
}
