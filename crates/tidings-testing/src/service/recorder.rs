//! A broker that remembers what is published through it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidings::Message;
use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Delay, Health, Link, PublishFailures, Subscribed, Subscription,
};

use super::seen::Seen;

/// The in-process broker as handlers have it.
#[derive(Clone)]
pub(super) struct Recorder {
    broker: Arc<dyn Broker>,
    /// Told when dead letters are stored.
    seen: Arc<Seen>,
    published: Arc<Mutex<Vec<Message>>>,
}

impl Recorder {
    pub(super) fn new(broker: Arc<dyn Broker>, seen: Arc<Seen>) -> Self {
        Self { broker, seen, published: Arc::default() }
    }

    /// What was published, but for dead letters.
    pub(super) fn published(&self) -> Vec<Message> {
        self.lock().iter().filter(|message| !message.topic().is_reserved()).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Message>> {
        self.published.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("broker", &self.broker.name()).finish_non_exhaustive()
    }
}

impl Broker for Recorder {
    fn name(&self) -> &'static str {
        self.broker.name()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.broker.capabilities();
        // Its waits go by another clock than the handlers'.
        capabilities.delay = Delay::None;
        capabilities
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            // Before it is: whoever handles it may ask at once.
            self.lock().extend(batch.iter().cloned());
            let result = self.broker.publish(batch).await;
            if let Err(failures) = &result {
                let failed: Vec<_> = failures.failed().iter().filter_map(|(place, _)| Some(batch.get(*place)?.id())).collect();
                self.lock().retain(|message| !failed.contains(&message.id()));
            }
            if batch.iter().any(|message| message.topic().is_reserved()) {
                self.seen.look_again();
            }
            result
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        self.broker.flush()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        self.broker.subscribe(subscription)
    }

    fn health(&self) -> Health {
        self.broker.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.broker.close()
    }
}
