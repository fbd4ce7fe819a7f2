//! The memory broker, counting what has left it, and a reader of a broker without the framework.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Delivery, Fetch, Fetched, Health, Link, Members, Message, Outcome,
    PublishFailures, Receipt, Settle, Subscribed, Subscription,
};
use tidings_memory::{Memory, Settings};
use tokio::{sync::Mutex, time::timeout};

/// The memory broker.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) memory: Arc<Memory>,
    gone: Arc<AtomicUsize>,
}

impl Default for Engine {
    fn default() -> Self {
        Self { memory: Arc::new(Memory::private(Settings::default())), gone: Arc::default() }
    }
}

impl Engine {
    /// How many messages have been settled for good.
    pub(super) fn gone(&self) -> usize {
        self.gone.load(Ordering::SeqCst)
    }

    pub(super) async fn reader(&self, group: &str, topic: &str) -> Reader {
        self.reader_of(self, group, topic).await
    }

    pub(super) async fn reader_of(&self, broker: &dyn Broker, group: &str, topic: &str) -> Reader {
        let (group, pattern) = (group.parse().unwrap(), topic.parse().unwrap());
        let subscription = Subscription { group, pattern, members: Members::Share, start: None, unsettled: 1_000 };
        let (fetch, settle) = broker.subscribe(subscription).await.unwrap();
        Reader { fetch, settle }
    }
}

impl Broker for Engine {
    fn name(&self) -> &'static str {
        self.memory.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.memory.capabilities()
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        self.memory.publish(batch)
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        self.memory.flush()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            let (fetch, settle) = self.memory.subscribe(subscription).await?;
            let settle: Arc<dyn Settle> = Arc::new(Counting { settle, turn: Mutex::default(), gone: Arc::clone(&self.gone) });
            Ok((fetch, settle))
        })
    }

    fn health(&self) -> Health {
        self.memory.health()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.memory.close()
    }
}

struct Counting {
    settle: Arc<dyn Settle>,
    turn: Mutex<()>,
    gone: Arc<AtomicUsize>,
}

impl Settle for Counting {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            // Nothing is handed back between the look and the settling.
            let _turn = self.turn.lock().await;
            let receipts: Vec<Receipt> = batch.iter().map(|(receipt, _)| *receipt).collect();
            // One that is lost is passed over.
            let lost = self.settle.extend(&receipts).await?;
            let ends = |(receipt, outcome): &&(Receipt, Outcome)| {
                matches!(outcome, Outcome::Ack | Outcome::Reject) && !lost.contains(receipt)
            };
            self.settle.settle(batch).await?;
            self.gone.fetch_add(batch.iter().filter(ends).count(), Ordering::SeqCst);
            Ok(())
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        self.settle.extend(batch)
    }

    fn lease(&self) -> Option<Duration> {
        self.settle.lease()
    }
}

/// Reads a subscription.
pub(super) struct Reader {
    fetch: Box<dyn Fetch>,
    settle: Arc<dyn Settle>,
}

impl Reader {
    pub(super) async fn fetch(&mut self) -> Vec<Delivery> {
        match self.fetch.fetch(1_000).await.unwrap() {
            Fetched::Deliveries(deliveries) => deliveries,
            other => panic!("{other:?}"),
        }
    }

    /// What comes, until nothing does for a while.
    pub(super) async fn there(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        while let Ok(deliveries) = timeout(Duration::from_millis(100), self.fetch()).await {
            messages.extend(deliveries.into_iter().map(|delivery| delivery.message));
        }
        messages
    }

    pub(super) async fn settle(&self, receipt: Receipt, outcome: Outcome) {
        self.settle.settle(&[(receipt, outcome)]).await.unwrap();
    }
}
