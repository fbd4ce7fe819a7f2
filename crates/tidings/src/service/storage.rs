//! The service's database and its outboxes.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidings_core::url::Time;
use tokio::{sync::OnceCell, time::Instant};

use super::{ServiceError, core::Core, patience::say_absent};
use crate::{
    Result,
    database::{Database, DatabaseError, DatabaseOptions},
    handlers::Registration,
    inbox::{self, Inbox, Joined},
    outbox::{KeyLocks, Outbox, OutboxOptions, Wake},
    readiness::State,
};

/// The database, and the outboxes whose relays the service runs.
pub(super) struct Storage {
    database: OnceCell<Database>,
    outboxes: Mutex<Vec<(Database, Outbox)>>,
    /// Where handlers' transactions are recorded.
    inboxes: Mutex<Vec<Inbox>>,
}

impl Storage {
    pub(super) fn new(database: Option<Database>) -> Self {
        Self { database: OnceCell::new_with(database), outboxes: Mutex::default(), inboxes: Mutex::default() }
    }

    /// The outboxes that were opened so far.
    pub(super) fn outboxes(&self) -> Vec<(Database, Outbox)> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Database, Outbox)>> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The inboxes of the handlers that have been registered.
    pub(super) fn inboxes(&self) -> MutexGuard<'_, Vec<Inbox>> {
        self.inboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The service's own database, if it is open.
    pub(super) fn open(&self) -> Option<&Database> {
        self.database.get()
    }

    pub(super) async fn close(&self, end: Instant) {
        let Some(database) = self.open() else { return };
        if tokio::time::timeout_at(end, database.close()).await.is_err() {
            tracing::warn!("the database did not close in time");
        }
    }
}

impl Core {
    /// The service's own database, opened when it is first asked for.
    pub(super) async fn database(&self) -> Result<Database> {
        self.admin().await?;
        self.storage.database.get_or_try_init(|| self.open_database()).await.cloned()
    }

    async fn open_database(&self) -> Result<Database> {
        let settings = &self.settings;
        let url: String = settings.get("database")?;
        let wait: Duration = settings.get("wait")?;
        let options = DatabaseOptions {
            connections: settings.get("database-connections")?,
            acquire: settings.get("database-acquire")?,
            wait,
        };
        let part = self.readiness.part("database");
        let setting = settings.origin("database");
        let waited = AtomicBool::new(wait.is_zero());
        let say = |error: &DatabaseError| {
            waited.store(true, Ordering::Relaxed);
            say_absent(&part, "database", error);
        };
        match Database::open(&url, &options, say).await {
            Ok(database) => {
                part.set(State::Up);
                Ok(database)
            }
            // A refused login is not waited for.
            Err(error @ DatabaseError::Unavailable { .. }) if waited.load(Ordering::Relaxed) => {
                let waited = Time(wait).to_string();
                Err(ServiceError::Absent { part: "database", setting, waited, source: error.into() }.into())
            }
            Err(source) => Err(ServiceError::Database { setting, source }.into()),
        }
    }

    /// The outbox in that database; its relay runs with the service.
    pub(super) async fn outbox(&self, database: &Database) -> Result<Outbox> {
        let locks = self.settings.get("outbox-key-locks")?;
        let notify = self.settings.get::<String>("outbox-wake")? == "notify";
        let options = OutboxOptions {
            key_locks: if locks { KeyLocks::Take } else { KeyLocks::Leave },
            wake: if notify { Wake::Notify } else { Wake::Poll },
        };
        let outbox = Outbox::open(database, self.settings.service(), self.source.clone(), options).await?;
        self.storage.lock().push((database.clone(), outbox.clone()));
        Ok(outbox)
    }

    /// The registration, with what its handler's transactions need: inbox and outbox in the database that it names.
    pub(super) async fn join(&self, registration: Registration) -> Result<Registration> {
        let Some(database) = registration.handler.transactions_in().pop() else { return Ok(registration) };
        if !self.storage.inboxes().iter().any(|known| known.database.is(&database)) {
            inbox::prepare(&database).await?;
        }
        let inbox = Inbox::of(&registration, database.clone());
        let backlog = Some(inbox.backlog.clone());
        self.storage.inboxes().push(inbox);
        let known = self.storage.outboxes().into_iter().find(|(other, _)| other.is(&database));
        let outbox = match known {
            Some((_, outbox)) => outbox,
            None => self.outbox(&database).await?,
        };
        let joined = Some(Joined::of(&registration, database, outbox, &self.instance));
        Ok(Registration { joined, backlog, ..registration })
    }
}
