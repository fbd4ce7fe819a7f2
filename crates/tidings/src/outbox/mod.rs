//! Events written in the database transaction that made them true, and the relay that moves them to the broker.
//!
//! Here: [`Outbox`], what counts as a transaction ([`InTransaction`]), the tables, and the relay. Not here: the broker, and
//! whatever happens once it has acknowledged a message.
//!
//! Order of one key is the order in which transactions got its lock: write the row first, then publish. Two transactions that
//! publish several keys in different orders can deadlock; the database ends one of them, which is
//! [`PublishError::Conflict`]: run that transaction again. [`Outbox::publish_all`] takes its keys in order by itself.

#![cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, unused_variables, reason = "what only the other database uses")
)]

mod publish;
pub(crate) mod relay;
mod row;
mod schema;
mod transaction;

use std::sync::{Arc, OnceLock};

use tidings_core::{Broker, Capabilities, Event, Message, PublishError, Source};

use crate::{
    Publish,
    database::{Database, DatabaseError},
    publisher::{check_due, message_of},
};
use publish::Insert;
use relay::Hot;
pub(crate) use row::micros;
pub use transaction::{InTransaction, Target};

/// The Postgres channel that says that there are rows.
#[cfg(feature = "postgres")]
const CHANNEL: &str = "tidings_outbox";

/// Publishes events as part of a database transaction; clones are cheap.
///
/// From the commit on the event cannot be lost: the service's relay moves it to the broker, at least once, whatever crashes.
/// A transaction that is rolled back has published nothing.
///
/// ```no_run
/// # use tidings::{outbox::Outbox, Event};
/// # async fn example(db: sqlx::SqlitePool, outbox: Outbox, created: impl Event) -> tidings::Result<()> {
/// let mut tx = tidings::database::begin_immediate(&db).await?;
/// sqlx::query("INSERT INTO users (id) VALUES ($1)").bind("7").execute(&mut *tx).await?;
/// outbox.publish(&mut tx, &created).await?;
/// tx.commit().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Outbox {
    insert: Arc<Insert>,
    source: Source,
    wake: Wake,
    hot: Hot,
    /// The broker that the rows go to, once its relay was made: what it cannot do is refused here, while the caller can still tell.
    broker: Arc<OnceLock<(&'static str, Capabilities)>>,
}

/// How an outbox writes and its relay reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct OutboxOptions {
    /// Whether a key is locked until the transaction ends; Postgres alone, SQLite has one writer anyway.
    pub key_locks: KeyLocks,
    /// How other processes' relays learn of rows.
    pub wake: Wake,
}

/// Whether the order of a key holds for transactions that share no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyLocks {
    /// It does: a publish locks the key until the transaction ends.
    #[default]
    Take,
    /// It does where transactions write a common row first; nothing is locked.
    Leave,
}

/// How a relay in another process learns that there are rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wake {
    /// By looking, every 200 ms to 1 s.
    #[default]
    Poll,
    /// By Postgres' NOTIFY, which locks the whole database at commit and costs many writers throughput.
    Notify,
}

impl Outbox {
    /// The outbox of a service in its database; its tables are made when they are absent.
    ///
    /// `service` is the name given to `init`: rows belong to it, and its relay alone moves them.
    ///
    /// # Errors
    /// When the tables cannot be made.
    pub(crate) async fn open(
        database: &Database,
        service: &str,
        source: Source,
        options: OutboxOptions,
    ) -> Result<Self, DatabaseError> {
        database.migrate(&schema::MIGRATIONS).await?;
        let insert = Insert { service: service.to_owned(), locks: options.key_locks, notify: options.wake == Wake::Notify };
        Ok(Self { insert: Arc::new(insert), source, wake: options.wake, hot: Hot::default(), broker: Arc::default() })
    }

    /// Says which broker the rows go to.
    pub(crate) fn goes_to(&self, broker: &dyn Broker) {
        self.broker.get_or_init(|| (broker.name(), broker.capabilities()));
    }

    /// Publishes one event, when the transaction commits.
    ///
    /// # Errors
    /// When the event cannot be encoded, its key or a header cannot be sent, or the row cannot be written. After
    /// [`PublishError::Conflict`] the same transaction, run again, may succeed.
    ///
    /// # Cancel safety
    /// A dropped future may or may not have written; roll the transaction back.
    pub fn publish<T, E>(&self, tx: &mut T, event: &E) -> impl Future<Output = Result<(), PublishError>> + Send
    where
        T: InTransaction + ?Sized,
        E: Event,
    {
        self.publish_all(tx, std::slice::from_ref(event))
    }

    /// Publishes many events in one statement, when the transaction commits.
    ///
    /// Those of one key keep their order; the keys are taken in an order that is the same for everybody, so that two such calls
    /// cannot block each other for ever.
    ///
    /// # Errors
    /// As [`Outbox::publish`]; then none is published.
    ///
    /// # Cancel safety
    /// As [`Outbox::publish`].
    pub fn publish_all<T, E>(&self, tx: &mut T, events: &[E]) -> impl Future<Output = Result<(), PublishError>> + Send
    where
        T: InTransaction + ?Sized,
        E: Event,
    {
        // Encoded before the first await, or every event would have to be `Sync`.
        let messages = self.messages(events);
        async move { self.publish_messages(tx, messages?).await }
    }

    /// Publishes events with a key or headers that differ from their own, or later, in one statement, when the transaction
    /// commits.
    ///
    /// A delay counts from this call. The row goes to the broker as others do, and the broker holds the event back.
    ///
    /// # Errors
    /// As [`Outbox::publish`], and when the service's broker cannot delay events for so long; then nothing is written. Before
    /// the service runs, its broker is not known here: such a row is written, and the relay puts it aside in
    /// `tidings_outbox_rejected`.
    ///
    /// # Cancel safety
    /// As [`Outbox::publish`].
    pub fn send<T, E>(&self, tx: &mut T, events: &Publish<E>) -> impl Future<Output = Result<(), PublishError>> + Send
    where
        T: InTransaction + ?Sized,
        E: Event,
    {
        let messages = self.messages_of(events);
        async move { self.publish_messages(tx, messages?).await }
    }

    pub(crate) fn messages<E: Event>(&self, events: &[E]) -> Result<Vec<Message>, PublishError> {
        events.iter().map(|event| message_of(event, &self.source, None)).collect()
    }

    pub(crate) fn messages_of<E: Event>(&self, events: &Publish<E>) -> Result<Vec<Message>, PublishError> {
        events.messages(|event| message_of(event, &self.source, None))
    }

    pub(crate) async fn publish_messages<T: InTransaction + ?Sized>(
        &self,
        tx: &mut T,
        mut messages: Vec<Message>,
    ) -> Result<(), PublishError> {
        if let Some((broker, able)) = self.broker.get() {
            check_due(&messages, broker, able)?;
        }
        messages.sort_by(|one, other| one.key().cmp(&other.key()));
        self.insert.rows(tx, &messages).await?;
        self.hot.mark();
        Ok(())
    }

    /// Whose rows it writes.
    pub(crate) fn service(&self) -> &str {
        &self.insert.service
    }

    /// Whether relays elsewhere are told by NOTIFY.
    pub(crate) fn wake(&self) -> Wake {
        self.wake
    }

    /// What wakes the relay when something was published here.
    pub(crate) fn hot(&self) -> Hot {
        self.hot.clone()
    }
}

#[cfg(test)]
mod tests;
