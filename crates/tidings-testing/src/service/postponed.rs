//! A broker that holds back what is due later, by the test's clock instead of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use tidings::{__private::Clock, Message};
use tidings_core::{BoxFuture, Broker, BrokerError, Capabilities, Health, Link, PublishFailures, Subscribed, Subscription};
use tokio::{sync::Notify, task::JoinSet, time::Instant};

pub(super) struct Postponed {
    broker: Arc<dyn Broker>,
    clock: Clock,
    later: Arc<Later>,
    /// Ends with this.
    _publishing: JoinSet<()>,
}

#[derive(Default)]
struct Later {
    waiting: Mutex<Waiting>,
    /// Rung when there is more of it.
    bell: Notify,
}

/// What is held back, by when it is due, then as it was published.
#[derive(Default)]
struct Waiting {
    messages: BTreeMap<(Instant, u64), Message>,
    count: u64,
}

impl Postponed {
    pub(super) fn new(broker: Arc<dyn Broker>, clock: Clock) -> Self {
        let later = Arc::<Later>::default();
        let mut publishing = JoinSet::new();
        publishing.spawn(Arc::clone(&later).publish(Arc::clone(&broker), clock.clone()));
        Self { broker, clock, later, _publishing: publishing }
    }
}

impl Later {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: &Message, at: Instant) {
        let mut waiting = self.lock();
        waiting.count += 1;
        let place = (at, waiting.count);
        waiting.messages.insert(place, message.clone().into_builder().due(None).build());
        self.bell.notify_one();
    }

    fn next(&self) -> Option<Instant> {
        self.lock().messages.first_key_value().map(|((at, _), _)| *at)
    }

    fn take_due(&self, now: Instant) -> Vec<Message> {
        let mut waiting = self.lock();
        let later = waiting.messages.split_off(&(now, u64::MAX));
        std::mem::replace(&mut waiting.messages, later).into_values().collect()
    }

    /// Publishes each when it is due.
    async fn publish(self: Arc<Self>, broker: Arc<dyn Broker>, clock: Clock) {
        loop {
            let more = self.bell.notified();
            let Some(next) = self.next() else {
                more.await;
                continue;
            };
            tokio::select! {
                () = more => {}
                () = clock.clone().until(next) => {
                    // It is refused by a broker that is closed alone, and then nobody waits for it.
                    let _ = broker.publish(&self.take_due(clock.now())).await;
                }
            }
        }
    }
}

impl Broker for Postponed {
    fn name(&self) -> &'static str {
        self.broker.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.broker.capabilities()
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        if batch.iter().all(|message| message.due().is_none()) {
            return self.broker.publish(batch);
        }
        Box::pin(async move {
            let (able, mut failed) = (self.capabilities(), Vec::new());
            for (place, message) in batch.iter().enumerate() {
                match message.due() {
                    Some(due) => match able.check_due(self.name(), message) {
                        // A relay brings it when the test may have moved the clock already.
                        Ok(()) => {
                            self.later.put(message, self.clock.instant_of(due, message.time().unwrap_or_else(SystemTime::now)))
                        }
                        Err(error) => failed.push((place, error)),
                    },
                    None => {
                        let published = self.broker.publish(std::slice::from_ref(message)).await;
                        failed.extend(published.err().map(|error| (place, error.into())));
                    }
                }
            }
            PublishFailures::check(failed)
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
