//! A handler's transaction.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::Pool;
use tidings_core::{BoxFuture, Event, Message, PublishError};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::{Record, engine::Engine};
use crate::{
    Failure, FromRef, Publish,
    handlers::{Context, Early, Ending, Extract, Needs, Outgoing},
    outbox::{InTransaction, Outbox, Target},
};

/// How long a connection that nobody waits for is looked after.
const CANCELLING: Duration = Duration::from_secs(5);

/// A handler's argument: an open transaction, in which the message is recorded as handled.
///
/// What the handler writes, the events that it publishes and the record commit together when it succeeds; when it fails, is
/// cancelled or panics, nothing of it has happened. A message that comes again after that commit is acknowledged without the
/// handler being called. The handler can neither commit the transaction nor keep it.
///
/// The pool comes from the state: the state is one, or [`FromRef`] takes it out. The service makes the inbox's and the
/// outbox's tables in its database at start, and runs the outbox's relay.
///
/// ```
/// use tidings::{Failure, Handlers, inbox::Tx};
/// use sqlx::{Sqlite, SqlitePool};
///
/// #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// #[event(topic = "order.placed", key = "id")]
/// struct Placed { id: String, cents: i64 }
///
/// #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// #[event(topic = "order.booked", key = "id")]
/// struct Booked { id: String }
///
/// async fn book(order: Placed, mut tx: Tx<Sqlite>) -> Result<(), Failure> {
///     sqlx::query("INSERT INTO bookings (id, cents) VALUES ($1, $2)")
///         .bind(&order.id)
///         .bind(order.cents)
///         .execute(&mut *tx)
///         .await?;
///     tx.publish(&Booked { id: order.id }).await?;
///     Ok(())
/// }
///
/// fn handlers(db: SqlitePool) -> Handlers {
///     Handlers::new().on(book).with_state(db)
/// }
/// ```
///
/// On SQLite nobody else can write to the file while the handler runs, so these handlers run one at a time a file, and each for
/// as long as its `.timeout(…)` says, or `--transaction-timeout` (2 s). On Postgres a statement takes as long as the attempt may
/// at most, and one that goes on after the attempt was cancelled is ended.
pub struct Tx<Db: TxDatabase> {
    /// There until the drop.
    open: Option<Db::Open>,
    home: Home<Db>,
    outbox: Outbox,
}

/// Where a transaction is while no handler has it.
type Home<Db> = Arc<Mutex<Option<<Db as Engine>::Open>>>;

/// A database that [`Tx`] works on: sqlx's `Postgres` and `Sqlite`.
pub trait TxDatabase: Engine {}

impl<Db: Engine> TxDatabase for Db {}

/// A state with a pool of connections in it, by [`FromRef`].
#[diagnostic::on_unimplemented(
    message = "this handler takes `Tx<{Db}>`, but there is no pool of it in the state `{Self}`",
    label = "takes a `Tx<{Db}>`",
    note = "the state is what `.with_state(…)` gives: a `sqlx::Pool<{Db}>`, or `impl FromRef<{Self}> for sqlx::Pool<{Db}>`"
)]
pub trait HasPool<Db: sqlx::Database> {
    /// The pool.
    fn pool(&self) -> Pool<Db>;
}

#[diagnostic::do_not_recommend]
impl<S, Db: sqlx::Database> HasPool<Db> for S
where
    Pool<Db>: FromRef<S>,
{
    fn pool(&self) -> Pool<Db> {
        Pool::from_ref(self)
    }
}

impl<Db: TxDatabase> Tx<Db> {
    /// Publishes one event, when the handler succeeds.
    ///
    /// # Errors
    /// As [`Outbox::publish`].
    ///
    /// # Cancel safety
    /// A dropped future may or may not have written; the handler should fail.
    pub fn publish<E: Event>(&mut self, event: &E) -> impl Future<Output = Result<(), PublishError>> + Send {
        // Made before the first await, or every event would have to be `Sync`.
        let messages = self.outbox.messages(std::slice::from_ref(event));
        async move { self.publish_messages(messages?).await }
    }

    /// Publishes events with a key or headers that differ from their own, or later, when the handler succeeds.
    ///
    /// # Errors
    /// As [`Outbox::send`].
    ///
    /// # Cancel safety
    /// As [`Tx::publish`].
    pub fn send<E: Event>(&mut self, events: &Publish<E>) -> impl Future<Output = Result<(), PublishError>> + Send {
        let messages = self.outbox.messages_of(events);
        async move { self.publish_messages(messages?).await }
    }

    async fn publish_messages(&mut self, messages: Vec<Message>) -> Result<(), PublishError> {
        let outbox = self.outbox.clone();
        outbox.publish_messages(self, messages).await
    }
}

impl<S, Db> Extract<S> for Tx<Db>
where
    S: HasPool<Db> + Sync,
    Db: TxDatabase,
{
    fn needs(state: &S, needs: &mut Needs) {
        needs.transactions_in(Db::database(state.pool()));
    }

    async fn extract(context: &mut Context, state: &S) -> Result<Self, Early> {
        let Some(transactions) = context.transactions().cloned() else {
            return Err(Early::Failed(Failure::reject("handlers that take `Tx` need a service, or a `TestService`")));
        };
        // What remains of the attempt: a connection may have to be waited for.
        let end = Instant::now() + transactions.attempt;
        let pool = state.pool();
        let mut open = Db::begin(&pool, end).await?;
        let record = Record::of(&transactions.subscription, context.message());
        let Some(running) = Db::record(&mut open, record).await? else {
            tracing::debug!("handled before");
            Db::roll_back(open).await?;
            return Err(Early::Handled);
        };
        let (home, outbox) = (Home::<Db>::default(), transactions.outbox);
        let begun = Begun::<Db> {
            home: Arc::clone(&home),
            outbox: outbox.clone(),
            hold: transactions.hold,
            abandoned: Some((pool, running)),
        };
        context.end_with(Box::new(begun));
        Ok(Self { open: Some(open), home, outbox })
    }
}

impl<Db: TxDatabase> Drop for Tx<Db> {
    fn drop(&mut self) {
        *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.open.take();
    }
}

impl<Db: TxDatabase> Deref for Tx<Db> {
    type Target = Db::Connection;

    #[expect(clippy::expect_used, reason = "the drop alone takes it")]
    fn deref(&self) -> &Db::Connection {
        self.open.as_ref().expect("there until the drop")
    }
}

impl<Db: TxDatabase> DerefMut for Tx<Db> {
    #[expect(clippy::expect_used, reason = "the drop alone takes it")]
    fn deref_mut(&mut self) -> &mut Db::Connection {
        self.open.as_mut().expect("there until the drop")
    }
}

impl<Db: TxDatabase> InTransaction for Tx<Db> {
    #[expect(clippy::expect_used, reason = "the drop alone takes it")]
    fn target(&mut self) -> Target<'_> {
        self.open.as_mut().expect("there until the drop").target()
    }
}

impl<Db: TxDatabase> fmt::Debug for Tx<Db> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tx<{}>", Db::NAME)
    }
}

/// A transaction that a handler was given.
struct Begun<Db: TxDatabase> {
    home: Home<Db>,
    outbox: Outbox,
    hold: Option<Duration>,
    /// Until it ends: what ends it when the attempt is cancelled.
    abandoned: Option<(Pool<Db>, Db::Running)>,
}

impl<Db: TxDatabase> Begun<Db> {
    fn back(&mut self) -> Option<Db::Open> {
        self.home.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn commit(&mut self, outgoing: Outgoing) -> Result<(), Failure> {
        let Some(mut open) = self.back() else {
            return Err("the handler's `Tx` is still in use: it must end before the handler does".into());
        };
        Db::check(&mut open, !outgoing.is_empty()).await.map_err(NotCommitted)?;
        if !outgoing.is_empty() {
            self.outbox.publish_messages(&mut open, outgoing).await?;
        }
        Ok(Db::commit(open).await.map_err(NotCommitted)?)
    }
}

/// Why nothing of what the handler did has happened.
#[derive(Debug, thiserror::Error)]
#[error("the handler's transaction did not commit")]
struct NotCommitted(#[source] sqlx::Error);

impl<Db: TxDatabase> Ending for Begun<Db> {
    fn hold(&self) -> Option<Duration> {
        self.hold
    }

    fn commit(mut self: Box<Self>, outgoing: Outgoing) -> BoxFuture<'static, Result<(), Failure>> {
        Box::pin(async move {
            let committed = Begun::commit(&mut self, outgoing).await;
            self.abandoned = None;
            committed
        })
    }

    fn roll_back(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Some(open) = self.back()
                && let Err(error) = Db::roll_back(open).await
            {
                tracing::debug!(%error, "the handler's transaction ended with its connection");
            }
            self.abandoned = None;
        })
    }
}

impl<Db: TxDatabase> Drop for Begun<Db> {
    fn drop(&mut self) {
        let Some((pool, running)) = self.abandoned.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(CANCELLING, Db::cancel(pool, running)));
        }
    }
}
