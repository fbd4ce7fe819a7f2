//! An instance of a service on a case's broker, and what its handlers saw.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings::{
    __private::{Bounds, Harness},
    Failure, Handlers, Message, Meta,
};
use tidings_core::Broker;
use tokio::sync::watch;

use crate::suite::within;

/// The service's name, and so its group.
const GROUP: &str = "g";
/// What runs ends within this, where nothing holds it up.
const ENOUGH: Duration = Duration::from_secs(20);

/// Handlers that run as in a service named `g`. A drop is a crash.
pub(super) struct Instance(Harness);

impl Instance {
    pub(super) async fn start(broker: Arc<dyn Broker>, handlers: Handlers) -> Self {
        Self::bounded(Bounds::default(), broker, handlers).await
    }

    pub(super) async fn bounded(bounds: Bounds, broker: Arc<dyn Broker>, handlers: Handlers) -> Self {
        Self(within(Harness::bounded(bounds, broker, GROUP, handlers)).await.unwrap())
    }

    /// Stops in order, and is not cut.
    pub(super) async fn stop(self) {
        let begun = Instant::now();
        self.stop_within(ENOUGH).await;
        assert!(begun.elapsed() < ENOUGH, "it stopped only when it was cut");
    }

    /// Stops; what still runs after `time` is cut.
    pub(super) async fn stop_within(self, time: Duration) {
        within(self.0.stop_within(time)).await.unwrap();
    }
}

/// What happened so far, in order. A clone is the same one.
#[derive(Clone)]
pub(super) struct Seen<T>(Arc<watch::Sender<Vec<T>>>);

impl<T: Clone + Debug> Seen<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub(super) fn push(&self, what: T) {
        self.0.send_modify(|seen| seen.push(what));
    }

    pub(super) fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    /// What happened by the time that it is so.
    #[track_caller]
    pub(super) fn until(&self, is_so: impl FnMut(&Vec<T>) -> bool) -> impl Future<Output = Vec<T>> {
        let mut news = self.0.subscribe();
        within(async move { news.wait_for(is_so).await.unwrap().clone() })
    }

    #[track_caller]
    pub(super) fn count(&self, count: usize) -> impl Future<Output = Vec<T>> {
        self.until(move |seen| seen.len() >= count)
    }

    /// The same for what takes long.
    pub(super) async fn count_in(&self, time: Duration, count: usize) {
        let mut news = self.0.subscribe();
        let came = tokio::time::timeout(time, news.wait_for(|seen| seen.len() >= count)).await;
        assert!(came.is_ok(), "not {count} within {time:?}: {:?}", self.all());
    }
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) body: String,
    pub(super) key: Option<String>,
    pub(super) attempt: u32,
    pub(super) at: Instant,
}

impl Tried {
    pub(super) fn of(message: &Message, meta: &Meta) -> Self {
        Self {
            body: String::from_utf8_lossy(message.body()).into_owned(),
            key: meta.key().map(ToString::to_string),
            attempt: meta.attempt(),
            at: Instant::now(),
        }
    }

    pub(super) fn number(&self) -> usize {
        self.body.parse().unwrap()
    }
}

/// A handler of `t` that tells each attempt, and ends it as `ends` says.
pub(super) fn tells<E>(seen: &Seen<Tried>, ends: E) -> Handlers
where
    E: Fn(&Tried) -> Result<(), Failure> + Clone + Send + Sync + 'static,
{
    let seen = seen.clone();
    Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (seen, ends) = (seen.clone(), ends.clone());
        async move {
            // Others run meanwhile.
            tokio::task::yield_now().await;
            let tried = Tried::of(&message, &meta);
            seen.push(tried.clone());
            ends(&tried)
        }
    })
}

/// The number and the attempt of each, by key, in order.
pub(super) fn by_key(tried: &[Tried]) -> BTreeMap<String, Vec<(usize, u32)>> {
    let mut by_key = BTreeMap::<_, Vec<_>>::new();
    for tried in tried {
        by_key.entry(tried.key.clone().unwrap_or_default()).or_default().push((tried.number(), tried.attempt));
    }
    by_key
}
