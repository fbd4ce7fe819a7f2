//! A broker that does what a test says, and tells what it was asked.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Delay, Delivery, EarliestStart, Fetch, Fetched, Health, KeyOrder, Link,
    Message, Outcome, PublishError, PublishFailures, Receipt, Settle, Subscribed, Subscription,
};
use tokio::sync::{Notify, watch};

use super::rig::Seen;

/// What it was asked, in order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Settle(u64, Outcome),
    Publish(Message),
    Extend(Vec<u64>),
    Close,
}

/// The broker and the script.
#[derive(Clone)]
pub(super) struct Scripted(Arc<Script>);

pub(super) struct Script {
    pub(super) asked: Seen<Asked>,
    pub(super) capabilities: Mutex<Capabilities>,
    pub(super) lease: Mutex<Option<Duration>>,
    to_fetch: Mutex<VecDeque<Result<Fetched, BrokerError>>>,
    bell: Notify,
    /// The next answers to `publish`; then all goes well.
    pub(super) publish_answers: Mutex<VecDeque<PublishError>>,
    /// The next answers to `settle`.
    pub(super) settle_answers: Mutex<VecDeque<BrokerError>>,
    /// The next answers to `extend`.
    pub(super) extend_answers: Mutex<VecDeque<Result<Vec<Receipt>, BrokerError>>>,
    pub(super) extends_fail: AtomicBool,
    /// What it says of its health.
    pub(super) is_down: AtomicBool,
    /// Settling stands still while this is false.
    pub(super) settles: watch::Sender<bool>,
    next: AtomicU64,
    /// What was fetched with.
    pub(super) maxima: Seen<usize>,
}

impl std::ops::Deref for Scripted {
    type Target = Script;
    fn deref(&self) -> &Script {
        &self.0
    }
}

pub(super) fn away() -> BrokerError {
    BrokerError::Unavailable { broker: "scripted".into(), source: "away".into() }
}

impl Scripted {
    pub(super) fn new() -> Self {
        let mut capabilities = Capabilities::default();
        (capabilities.durable, capabilities.groups, capabilities.wildcards) = (true, true, true);
        (capabilities.key_order, capabilities.delay) = (KeyOrder::Instance, Delay::Native);
        capabilities.earliest_start = EarliestStart::First;
        Self(Arc::new(Script {
            asked: Seen::new(),
            capabilities: Mutex::new(capabilities),
            lease: Mutex::default(),
            to_fetch: Mutex::default(),
            bell: Notify::new(),
            publish_answers: Mutex::default(),
            settle_answers: Mutex::default(),
            extend_answers: Mutex::default(),
            extends_fail: AtomicBool::default(),
            is_down: AtomicBool::default(),
            settles: watch::Sender::new(true),
            next: AtomicU64::new(1),
            maxima: Seen::new(),
        }))
    }

    pub(super) fn broker(&self) -> Arc<dyn Broker> {
        Arc::new(self.clone())
    }

    /// Delivers messages; the first ever is number 1.
    pub(super) fn deliver(&self, messages: impl IntoIterator<Item = Message>) {
        self.deliver_as(messages, |_| {});
    }

    pub(super) fn deliver_as(&self, messages: impl IntoIterator<Item = Message>, change: impl Fn(&mut Delivery)) {
        let deliveries = messages.into_iter().map(|message| {
            let receipt = Receipt([self.next.fetch_add(1, SeqCst), 0, 0]);
            let mut delivery = Delivery { message, receipt, attempts: 0, deliveries: None };
            change(&mut delivery);
            delivery
        });
        self.say(Ok(Fetched::Deliveries(deliveries.collect())));
    }

    /// Answers the next fetch.
    pub(super) fn say(&self, fetched: Result<Fetched, BrokerError>) {
        self.to_fetch.lock().unwrap().push_back(fetched);
        self.bell.notify_one();
    }

    /// Messages that were not fetched yet.
    pub(super) fn to_come(&self) -> usize {
        let to_fetch = self.to_fetch.lock().unwrap();
        to_fetch.iter().map(|next| if let Ok(Fetched::Deliveries(deliveries)) = next { deliveries.len() } else { 0 }).sum()
    }

    pub(super) fn settled(&self) -> Vec<(u64, Outcome)> {
        settled(&self.asked.all())
    }

    pub(super) async fn when_settled(&self, count: usize) -> Vec<(u64, Outcome)> {
        settled(&self.asked.when(|asked| settled(asked).len() >= count).await)
    }
}

fn settled(asked: &[Asked]) -> Vec<(u64, Outcome)> {
    asked.iter().filter_map(|asked| if let Asked::Settle(n, outcome) = asked { Some((*n, *outcome)) } else { None }).collect()
}

impl Broker for Scripted {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn capabilities(&self) -> Capabilities {
        *self.capabilities.lock().unwrap()
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            let mut failed = Vec::new();
            for (place, message) in batch.iter().enumerate() {
                match self.publish_answers.lock().unwrap().pop_front() {
                    Some(error) => failed.push((place, error)),
                    None => self.asked.push(Asked::Publish(message.clone())),
                }
            }
            PublishFailures::check(failed)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        Box::pin(async { Ok(Link(0)) })
    }

    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async {
            let halves: Subscribed = (Box::new(self.clone()), Arc::new(self.clone()));
            Ok(halves)
        })
    }

    fn health(&self) -> Health {
        if self.is_down.load(SeqCst) { Health::Down("so it says".into()) } else { Health::Up }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Fetch for Scripted {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        self.maxima.push(max);
        Box::pin(async move {
            loop {
                if let Some(fetched) = self.take(max) {
                    return fetched;
                }
                self.bell.notified().await;
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            self.asked.push(Asked::Close);
            Ok(())
        })
    }
}

impl Scripted {
    /// What comes next, in so far as there is room for it.
    fn take(&self, max: usize) -> Option<Result<Fetched, BrokerError>> {
        let mut to_fetch = self.to_fetch.lock().unwrap();
        match to_fetch.front_mut()? {
            Ok(Fetched::Deliveries(_)) if max == 0 => None,
            Ok(Fetched::Deliveries(deliveries)) if deliveries.len() > max => {
                let rest = deliveries.split_off(max);
                let now = std::mem::replace(deliveries, rest);
                Some(Ok(Fetched::Deliveries(now)))
            }
            _ => to_fetch.pop_front(),
        }
    }
}

impl Settle for Scripted {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let _ = self.settles.subscribe().wait_for(|settles| *settles).await;
            if let Some(error) = self.settle_answers.lock().unwrap().pop_front() {
                return Err(error);
            }
            batch.iter().for_each(|(receipt, outcome)| self.asked.push(Asked::Settle(receipt.0[0], *outcome)));
            Ok(())
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            let mut numbers: Vec<u64> = batch.iter().map(|receipt| receipt.0[0]).collect();
            numbers.sort_unstable();
            self.asked.push(Asked::Extend(numbers));
            if self.extends_fail.load(SeqCst) {
                return Err(away());
            }
            self.extend_answers.lock().unwrap().pop_front().unwrap_or(Ok(Vec::new()))
        })
    }

    fn lease(&self) -> Option<Duration> {
        *self.lease.lock().unwrap()
    }
}
