//! What a service opens, once, when it is first asked for: the admin port, the broker, the database.

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::{Broker, BrokerError, Client, GroupName, Source, Text, url::Time};
use tokio::{
    sync::OnceCell,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Builder, ServiceError, listen::listen, patience::patiently};
use crate::{
    Publisher, Result,
    admin::Admin,
    metrics::Metrics,
    readiness::{Part, Readiness, State},
    schemes::Schemes,
    settings::{Address, Settings},
};

/// A service's identity and what it has open; shared by its parts.
pub(super) struct Core {
    pub(super) name: Text,
    pub(super) version: &'static str,
    pub(super) instance: Text,
    pub(super) source: Source,
    pub(super) group: GroupName,
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    pub(super) readiness: Readiness,
    /// The service as a whole: down while it starts and from the moment it stops.
    pub(super) lifecycle: Part,
    pub(super) stop: CancellationToken,
    schemes: Schemes,
    admin: OnceCell<Admin>,
    broker: OnceCell<Arc<dyn Broker>>,
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(super) storage: super::storage::Storage,
}

/// The longest `--id`, which brokers show to their operators.
const MAX_ID: usize = 128;
/// A try is given this long at least, however short the wait.
const SHORTEST_TRY: Duration = Duration::from_secs(5);

impl Core {
    pub(super) fn new(builder: Builder, settings: Settings) -> Result<Self> {
        let name: String = settings.get::<Option<String>>("name")?.unwrap_or_else(|| settings.service().to_owned());
        let refuse = |error: tidings_core::InvalidName| settings.refuse("name", &error.to_string());
        let instance = settings.get::<Option<String>>("id")?.unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        if instance.len() > MAX_ID || !instance.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(settings.refuse("id", "1 to 128 letters, digits and signs, without blanks").into());
        }
        let readiness = Readiness::new();
        let metrics = Metrics::new();
        if let Some(broker) = &builder.broker {
            metrics.show_counters_of(broker);
        }
        let core = Self {
            source: Source::new(&format!("/{name}")).map_err(refuse)?,
            group: GroupName::of_service(&name).map_err(refuse)?,
            name: name.into(),
            version: builder.spec().version,
            instance: instance.into(),
            settings,
            metrics,
            lifecycle: readiness.part("service"),
            readiness,
            stop: CancellationToken::new(),
            schemes: builder.schemes,
            admin: OnceCell::new(),
            broker: OnceCell::new_with(builder.broker),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            storage: super::storage::Storage::new(builder.database),
        };
        Ok(core)
    }

    /// The admin port, which is there from the first thing that is waited for, so that it can tell what.
    pub(super) async fn admin(&self) -> Result<&Admin> {
        self.admin.get_or_try_init(|| self.serve_admin()).await
    }

    async fn serve_admin(&self) -> Result<Admin> {
        let wanted: Address = self.settings.get("admin")?;
        let (listener, address) = listen(&self.settings, "admin", &wanted).await?;
        Ok(Admin::serve(listener, address, self.readiness.clone(), self.metrics.clone()))
    }

    /// The broker, opened when it is first asked for.
    pub(super) async fn broker(&self) -> Result<&Arc<dyn Broker>> {
        self.admin().await?;
        self.broker.get_or_try_init(|| self.open_broker()).await
    }

    /// What publishes in the service's name.
    pub(super) fn publisher(&self, broker: &Arc<dyn Broker>) -> Publisher {
        Publisher::new(Arc::clone(broker), self.source.clone()).counted(self.metrics.published())
    }

    /// The broker, if it is open.
    pub(super) fn open(&self) -> Option<&Arc<dyn Broker>> {
        self.broker.get()
    }

    /// The broker's URL without its login, or the name of one that the program brought.
    pub(super) fn broker_shown(&self) -> Option<String> {
        let broker = self.broker.get()?;
        let url = self.settings.get::<String>("broker").map(|url| crate::settings::shown_url(&url));
        Some(url.unwrap_or_else(|_| broker.name().to_owned()))
    }

    /// The database's URL without its login, or that the program brought one; nothing when it is not open.
    pub(super) fn database_shown(&self) -> Option<String> {
        #[cfg(not(any(feature = "postgres", feature = "sqlite")))]
        return None;
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        {
            self.storage.open()?;
            let url = self.settings.get::<String>("database").map(|url| crate::settings::shown_url(&url));
            Some(url.unwrap_or_else(|_| "the program's own".to_owned()))
        }
    }

    async fn open_broker(&self) -> Result<Arc<dyn Broker>> {
        let url: String = self.settings.get("broker")?;
        let wait: Duration = self.settings.get("wait")?;
        let client = Client { service: self.name.clone(), instance: self.instance.clone() };
        let part = self.readiness.part("broker");
        let attempt = || {
            let opening = timeout(wait.max(SHORTEST_TRY), self.schemes.open(&url, client.clone()));
            let silent =
                || BrokerError::Unavailable { broker: crate::settings::shown_url(&url), source: "it does not answer".into() };
            async move { opening.await.unwrap_or_else(|_| Err(silent())) }
        };
        let opened = patiently(wait, &part, "broker", attempt, BrokerError::is_transient).await;
        let broker = opened.map_err(|source| {
            let setting = self.settings.origin("broker");
            match source.is_transient() {
                true => ServiceError::Absent { part: "broker", setting, waited: Time(wait).to_string(), source: source.into() },
                false => ServiceError::Broker { setting, source },
            }
        })?;
        part.set(State::Up);
        self.metrics.show_counters_of(&broker);
        Ok(broker)
    }

    /// Closes what is open; what takes longer than until `end` is left to the end of the process.
    pub(super) async fn close(&self, end: Instant) {
        if let Some(broker) = self.open() {
            match tokio::time::timeout_at(end, broker.close()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!("the broker could not be told of the end: {}", crate::error::chain(&error)),
                Err(_) => tracing::warn!("the broker did not close in time"),
            }
        }
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        self.storage.close(end).await;
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}
