//! Handlers of a service, collected.

use std::{fmt, sync::Arc, time::Duration};

use tidings_core::{BoxError, Event, InvalidName, Topic, TopicPattern};
use tower::{Layer, Service};

use super::{
    BatchArgs, Context, EventArgs, Handler, HandlerService, IntoBatchOutcome, IntoOutcome, MessageArgs, Options,
    arguments::{Arguments, ByEvent, ByPattern, types_of},
    batching::Batched,
    dispatch::{Dispatch, Typed},
    layers::Layers,
    options::{Batching, option_methods},
};

/// What a service handles; `S` is the state that handlers still wait for.
///
/// ```
/// use tidings::{Failure, Handlers, Message, Meta, State};
/// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
/// # #[event(topic = "user.created")]
/// # struct UserCreated {}
/// # #[derive(Clone)]
/// # struct Mailer;
///
/// async fn welcome(user: UserCreated, State(mailer): State<Mailer>) -> Result<(), Failure> {
///     Ok(())
/// }
///
/// async fn audit(message: Message, meta: Meta) {}
///
/// let handlers: Handlers = Handlers::new().on(welcome).with_state(Mailer).on_topic("user.>", audit);
/// ```
///
/// What is said of the whole value, options (`group`, `retry` …) and layers alike, holds for every handler in it, no matter
/// which was said first, and for merged ones too. An option that a handler has of its own, or from the value that it was
/// merged with, wins.
///
/// Two handlers of one topic or pattern need different groups: each group gets every message once. Handlers of events that share a
/// topic and have a `type` each are one subscription: each gets what is of its type, and other types are passed over.
#[must_use]
pub struct Handlers<S = ()> {
    common: Options,
    layers: Layers,
    ready: Vec<Entry<Arc<dyn Dispatch>>>,
    waiting: Vec<Entry<Bind<S>>>,
}

/// Gives a handler its state.
type Bind<S> = Box<dyn FnOnce(S) -> Arc<dyn Dispatch> + Send + Sync>;

/// A handler, or what becomes one, and what was said of it.
pub(super) struct Entry<D> {
    pub(super) name: &'static str,
    pub(super) pattern: Result<TopicPattern, InvalidName>,
    /// The types of the events that it takes; empty for all messages.
    pub(super) types: &'static [&'static str],
    pub(super) options: Options,
    pub(super) layers: Layers,
    pub(super) handler: D,
}

impl<S: Clone + Send + Sync + 'static> Handlers<S> {
    /// No handlers.
    pub fn new() -> Self {
        Self { common: Options::default(), layers: Layers::default(), ready: Vec::new(), waiting: Vec::new() }
    }

    /// Adds a handler of one event: its first argument says which.
    pub fn on<A, H>(self, handler: H) -> Self
    where
        H: Handler<A>,
        A: EventArgs<S>,
        H::Future: Send + 'static,
        <H::Future as Future>::Output: IntoOutcome,
    {
        self.add::<ByEvent, A, H>(Topic::from_static(A::TOPIC).map(Into::into), A::TYPES, handler)
    }

    /// Adds a handler of all that is published on a topic, or on those that match a pattern.
    ///
    /// `user.*` stands for one word after `user.`, `user.>` for one or more. Its first argument is the [`Message`](crate::Message).
    pub fn on_topic<A, H>(self, pattern: impl AsRef<str>, handler: H) -> Self
    where
        H: Handler<A>,
        A: MessageArgs<S>,
        H::Future: Send + 'static,
        <H::Future as Future>::Output: IntoOutcome,
    {
        self.add::<ByPattern, A, H>(TopicPattern::new(pattern.as_ref()), &[], handler)
    }

    /// Adds a handler of many events in one call: its first argument is a [`Batch`](super::Batch).
    ///
    /// A batch is handed over when it has `max` events, 1 to 65,536, or when its first one has waited for `wait`, at most a minute.
    /// Each message is settled by itself, and what the handler returns says which of them failed: those alone are tried again. A
    /// batch has one event of a key at most, since the next one waits for the outcome; `.order(Order::None)` allows more. Unless the
    /// handler says its `.concurrency(…)`, two batches are handled at once. A handler of batches takes no `Tx`.
    ///
    /// The time that an attempt may take begins when the message comes, and so includes `wait`.
    pub fn on_batch<A, H>(mut self, max: usize, wait: Duration, handler: H) -> Self
    where
        H: Handler<A>,
        A: BatchArgs<S>,
        H::Future: Future<Output: IntoBatchOutcome> + Send + 'static,
    {
        let batching = Batching { max, wait };
        self.waiting.push(Entry {
            name: handler.name(),
            pattern: Topic::from_static(A::Event::TOPIC).map(Into::into),
            types: types_of::<A::Event>(),
            options: Options { batching: Some(batching), ..handler.options() },
            layers: Layers::default(),
            handler: Box::new(move |state| Arc::new(Batched::<H, S, A>::new(handler, state, max, wait))),
        });
        self
    }

    fn add<K: 'static, A, H>(
        mut self,
        pattern: Result<TopicPattern, InvalidName>,
        types: &'static [&'static str],
        handler: H,
    ) -> Self
    where
        H: Handler<A>,
        A: Arguments<S, K>,
        H::Future: Future<Output: IntoOutcome> + Send + 'static,
    {
        self.waiting.push(Entry {
            name: handler.name(),
            pattern,
            types,
            options: handler.options(),
            layers: Layers::default(),
            handler: Box::new(|state| Arc::new(Typed::<H, S, K, A>::new(handler, state))),
        });
        self
    }

    /// Gives its state to every handler that waits for one; those that are added afterwards may have another.
    ///
    /// Each message's handler gets a clone of the state, or of a part of it by [`FromRef`](super::FromRef).
    pub fn with_state<S2>(self, state: S) -> Handlers<S2> {
        let mut ready = self.ready;
        ready.extend(self.waiting.into_iter().map(|entry| entry.map(|bind| bind(state.clone()))));
        Handlers { common: self.common, layers: self.layers, ready, waiting: Vec::new() }
    }

    /// Adds the handlers of another value, with what was said of it.
    pub fn merge(mut self, other: Self) -> Self {
        let Self { common, layers, ready, waiting } = other;
        self.ready.extend(ready.into_iter().map(|entry| entry.within(&common, &layers)));
        self.waiting.extend(waiting.into_iter().map(|entry| entry.within(&common, &layers)));
        self
    }

    /// Puts a layer of tower around each handler; the last one added is the outermost.
    ///
    /// A layer sees the [`Context`] of each attempt and its outcome. An error of its own is a failed attempt; one of the
    /// handler's, passed on or as the source of its own, keeps what it says of the next attempt. Options do the usual
    /// things without a layer's price: [`Handlers::timeout`], [`Handlers::concurrency`], [`Handlers::retry`].
    ///
    /// ```
    /// use tidings::{Handlers, handlers::Context};
    /// # #[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
    /// # #[event(topic = "user.created")]
    /// # struct UserCreated {}
    /// # async fn welcome(user: UserCreated) {}
    ///
    /// let seen = tower::util::MapRequestLayer::new(|context: Context| {
    ///     println!("{} {}", context.message().id(), context.attempt());
    ///     context
    /// });
    /// let handlers: Handlers = Handlers::new().on(welcome).layer(seen);
    /// ```
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<HandlerService> + Send + Sync + 'static,
        L::Service: Service<Context, Response = (), Error: Into<BoxError>, Future: Send + 'static>,
        L::Service: Clone + Send + Sync + 'static,
    {
        self.layers.push(layer);
        self
    }

    option_methods!([pub] -> Self);

    fn with(mut self, options: Options) -> Self {
        self.common = options.or(&self.common);
        self
    }
}

impl Handlers {
    /// Every handler, with what was said of the whole value.
    pub(super) fn entries(self) -> impl Iterator<Item = Entry<Arc<dyn Dispatch>>> {
        let Self { common, layers, ready, .. } = self.with_state::<()>(());
        ready.into_iter().map(move |entry| entry.within(&common, &layers))
    }
}

impl<D> Entry<D> {
    fn map<E>(self, handler: impl FnOnce(D) -> E) -> Entry<E> {
        let Self { name, pattern, types, options, layers, handler: from } = self;
        Entry { name, pattern, types, options, layers, handler: handler(from) }
    }

    /// With what was said of the value that it is in.
    fn within(mut self, common: &Options, layers: &Layers) -> Self {
        self.options = self.options.or(common);
        self.layers.extend(layers);
        self
    }
}

impl<S: Clone + Send + Sync + 'static> Default for Handlers<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Handlers<S> {
    /// The names of the handlers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.ready.iter().map(|entry| entry.name).chain(self.waiting.iter().map(|entry| entry.name));
        f.debug_list().entries(names).finish()
    }
}

/// Handlers that wait for no state any more, which is what a service takes.
#[diagnostic::on_unimplemented(
    message = "these handlers still wait for their state: `{Self}`",
    label = "a service takes `Handlers<()>`",
    note = "give it to them with `.with_state(…)`"
)]
pub trait Complete {
    #[doc(hidden)]
    fn complete(self) -> Handlers;
}

impl Complete for Handlers {
    fn complete(self) -> Handlers {
        self
    }
}
