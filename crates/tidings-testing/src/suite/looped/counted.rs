//! A broker that counts what its subscriptions have in hand, delivered and not settled, and tells when what was settled.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Fetch, Fetched, Health, Link, Message, Outcome, PublishFailures, Receipt,
    Settle, Subscribed, Subscription,
};
use tokio::sync::watch;

use crate::suite::{body, flow::Handled, within};

/// Another broker, with its subscription counted. One subscription: receipts of two would be mixed up.
pub(super) struct Counted {
    inner: Arc<dyn Broker>,
    hand: Arc<InHand>,
}

/// What is in hand, by its bodies, the most that ever was, and what was settled.
#[derive(Default)]
struct InHand {
    held: Mutex<BTreeMap<Receipt, String>>,
    counts: watch::Sender<Counts>,
    settled: Mutex<Vec<Handled>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    now: usize,
    most: usize,
}

impl InHand {
    fn change(&self, change: impl FnOnce(&mut BTreeMap<Receipt, String>)) {
        let mut held = self.held.lock().unwrap();
        change(&mut held);
        let now = held.len();
        self.counts.send_modify(|counts| *counts = Counts { now, most: counts.most.max(now) });
    }

    fn remove<'a>(&self, receipts: impl IntoIterator<Item = &'a Receipt>) {
        self.change(|held| {
            for receipt in receipts {
                held.remove(receipt);
            }
        });
    }

    fn note(&self, batch: &[(Receipt, Outcome)], settled: Option<Instant>) {
        let held = self.held.lock().unwrap();
        let bodies = batch.iter().filter_map(|(receipt, _)| held.get(receipt).cloned());
        self.settled.lock().unwrap().extend(bodies.map(|body| Handled { body, settled }));
    }
}

impl Counted {
    pub(super) fn around(inner: Arc<dyn Broker>) -> Arc<Self> {
        Arc::new(Self { inner, hand: Arc::default() })
    }

    pub(super) fn in_hand(&self) -> usize {
        self.hand.counts.borrow().now
    }

    pub(super) fn most(&self) -> usize {
        self.hand.counts.borrow().most
    }

    /// What was settled so far, or was to be.
    pub(super) fn settled(&self) -> Vec<Handled> {
        self.hand.settled.lock().unwrap().clone()
    }

    /// Waits until so many were settled, or were to be.
    pub(super) fn until_settled(&self, count: usize) -> impl Future<Output = ()> {
        let mut counts = self.hand.counts.subscribe();
        within(async move { drop(counts.wait_for(|_| self.hand.settled.lock().unwrap().len() >= count).await.unwrap()) })
    }

    /// Waits until so many are in hand.
    #[track_caller]
    pub(super) fn until_in_hand(&self, is_so: impl Fn(usize) -> bool) -> impl Future<Output = ()> {
        let mut counts = self.hand.counts.subscribe();
        within(async move { drop(counts.wait_for(|counts| is_so(counts.now)).await.unwrap()) })
    }
}

impl Broker for Counted {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        self.inner.publish(batch)
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        self.inner.flush()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            let (fetch, settle) = self.inner.subscribe(subscription).await?;
            let fetch = CountedFetch { inner: fetch, hand: Arc::clone(&self.hand) };
            let settle = CountedSettle { inner: settle, hand: Arc::clone(&self.hand) };
            Ok((Box::new(fetch) as Box<dyn Fetch>, Arc::new(settle) as Arc<dyn Settle>))
        })
    }

    fn health(&self) -> Health {
        self.inner.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.inner.close()
    }
}

struct CountedFetch {
    inner: Box<dyn Fetch>,
    hand: Arc<InHand>,
}

impl Fetch for CountedFetch {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(async move {
            let fetched = self.inner.fetch(max).await?;
            match &fetched {
                Fetched::Deliveries(new) => {
                    self.hand.change(|held| held.extend(new.iter().map(|delivery| (delivery.receipt, body(delivery)))));
                }
                Fetched::Lost(lost) => self.hand.remove(lost),
                Fetched::Leaving(_) => {}
            }
            Ok(fetched)
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        self.inner.close()
    }
}

struct CountedSettle {
    inner: Arc<dyn Settle>,
    hand: Arc<InHand>,
}

impl Settle for CountedSettle {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let settled = self.inner.settle(batch).await;
            self.hand.note(batch, settled.is_ok().then_some(begun));
            settled?;
            self.hand.remove(batch.iter().map(|(receipt, _)| receipt));
            Ok(())
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            let lost = self.inner.extend(batch).await?;
            self.hand.remove(&lost);
            Ok(lost)
        })
    }

    fn lease(&self) -> Option<Duration> {
        self.inner.lease()
    }
}
