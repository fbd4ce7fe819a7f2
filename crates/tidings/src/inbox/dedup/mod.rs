//! Effects outside of the database, narrowed to once: what is recorded before them, and after.

mod store;
mod turns;

use std::{
    fmt,
    sync::Arc,
    task::{self, Poll},
    time::Duration,
};

use tidings_core::{BoxError, BoxFuture, Event};
use tower::{Layer, Service};

use self::{
    store::{Claim, Claimed, Store},
    turns::Turns,
};
use crate::{
    Failure,
    database::{Database, DatabaseError},
    handlers::Context,
};

/// A layer that calls a handler once for each message, or for each value of a field, whose effects no transaction can hold: a mail, a
/// call to a payment provider.
///
/// It records in the database that the handler has started before it calls it, and that it is done afterwards. Who finds "done"
/// acknowledges the message. Who finds "started" by another instance tries again when that one must have ended: after the
/// handler's timeout. A process that is killed between effect and record does it again, so pass [`Meta::idempotency_key`](crate::Meta::idempotency_key) on
/// where the other side can use it.
///
/// Instances that share a group must share the database.
///
/// ```
/// use tidings::{Failure, Handlers, inbox::Dedup, database::Database};
/// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created", key = "id")]
/// # struct UserCreated { id: String }
/// # async fn welcome(user: UserCreated) -> Result<(), Failure> { Ok(()) }
///
/// # async fn example(database: Database) -> tidings::Result<()> {
/// let once_for_a_user = Dedup::open(&database).await?.by(|user: &UserCreated| user.id.clone());
/// let handlers: Handlers = Handlers::new().on(welcome).layer(once_for_a_user);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Dedup(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    store: Arc<Store>,
    turns: Arc<Turns>,
    scope: Option<&'static str>,
    key: Arc<KeyOf>,
}

/// What tells messages apart; `None` leaves one to the handler.
type KeyOf = dyn Fn(&Context) -> Option<String> + Send + Sync;

/// How long a message is remembered by its identity: as long as brokers keep theirs by default.
const KEEP: Duration = Duration::from_secs(7 * 24 * 3600);

impl Dedup {
    /// Tells messages apart by their identity: source and id. They are remembered for 7 days, as long as brokers keep theirs by
    /// default: where a broker's `max_age` is longer, say so with [`Dedup::keep`].
    ///
    /// # Errors
    /// When the table cannot be made.
    ///
    /// # Cancel safety
    /// A dropped future may have made the table.
    pub async fn open(database: &Database) -> Result<Self, DatabaseError> {
        let store = Arc::new(Store::open(database, Some(KEEP)).await?);
        let key = |context: &Context| Some(context.message().dedup_id().to_string());
        Ok(Self(Arc::new(Parts { store, turns: Arc::default(), scope: None, key: Arc::new(key) })))
    }

    /// Tells them apart by a field of the event instead, whatever message brings it. Its values are remembered for ever, unless
    /// [`Dedup::keep`] says otherwise.
    #[must_use]
    pub fn by<E: Event, K: Into<String>>(self, field: impl Fn(&E) -> K + Send + Sync + 'static) -> Self {
        let key = move |context: &Context| {
            // One that cannot be decoded is the handler's to refuse.
            E::from_message(context.message()).ok().map(|event| field(&event).into())
        };
        self.change(|parts| {
            parts.key = Arc::new(key);
            parts.store = Arc::new(parts.store.keeping(None));
        })
    }

    /// Remembers what is done from now on for so long, an hour more at most. A message that its broker still has after that time,
    /// and brings again, is handled again: let it be no less than the broker's `max_age`.
    #[must_use]
    pub fn keep(self, time: Duration) -> Self {
        self.change(|parts| parts.store = Arc::new(parts.store.keeping(Some(time))))
    }

    /// Under this name, instead of the subscription's group and pattern: handlers that share it do a thing once among all.
    #[must_use]
    pub fn scope(self, name: &'static str) -> Self {
        self.change(|parts| parts.scope = Some(name))
    }

    fn change(self, change: impl FnOnce(&mut Parts)) -> Self {
        let mut parts = Parts::clone(&self.0);
        change(&mut parts);
        Self(Arc::new(parts))
    }
}

impl fmt::Debug for Dedup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dedup").field("scope", &self.0.scope).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for Dedup {
    type Service = Once<S>;

    fn layer(&self, inner: S) -> Once<S> {
        Once { inner, parts: Arc::clone(&self.0) }
    }
}

/// What [`Dedup`] makes of a handler.
#[derive(Clone)]
pub struct Once<S> {
    inner: S,
    parts: Arc<Parts>,
}

impl<S> Service<Context> for Once<S>
where
    S: Service<Context, Response = (), Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
{
    type Response = ();
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, context: Context) -> Self::Future {
        // The one that is ready is called; the clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let parts = Arc::clone(&self.parts);
        Box::pin(async move {
            let Some(key) = (parts.key)(&context) else { return inner.call(context).await.map_err(Into::into) };
            let scope = parts.scope.map_or_else(|| format!("{} {}", context.group(), context.pattern()), str::to_owned);
            // In this process they wait for each other; the record is for the others.
            let _turn = parts.turns.take(format!("{scope} {key}")).await;
            let claim = Claim::new(scope, key, &context);
            match parts.store.claim(claim).await? {
                Claimed::Done => {
                    tracing::info!("done before");
                    Ok(())
                }
                Claimed::Another(left) => {
                    let error = "another instance has started this, and may still be at it";
                    Err(Failure::retry_after(error, left).into_error())
                }
                Claimed::Ours(ours) => match inner.call(context).await.map_err(Into::into) {
                    Ok(()) => Ok(ours.done().await?),
                    Err(error) => {
                        ours.given_up().await;
                        Err(error)
                    }
                },
            }
        })
    }
}

impl<S> fmt::Debug for Once<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
