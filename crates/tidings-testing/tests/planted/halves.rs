//! A subscription of a broker that does one thing wrong: what comes out.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use tidings_core::{BoxFuture, BrokerError, Delivery, Fetch, Fetched, GroupName, Outcome, Receipt, Settle, Subscribed};
use tokio::sync::oneshot;

use crate::{Bug, broker::Shared};

/// The receipts in hand.
pub(crate) type Held = Arc<Mutex<BTreeSet<Receipt>>>;

pub(crate) struct PlantedFetch {
    pub(crate) inner: Box<dyn Fetch>,
    pub(crate) settle: Arc<dyn Settle>,
    pub(crate) bug: Bug,
    pub(crate) shared: Arc<Shared>,
    pub(crate) group: GroupName,
    pub(crate) held: Held,
    /// How many subscribed here before.
    pub(crate) member: usize,
}

impl PlantedFetch {
    async fn next(&mut self, max: usize) -> Result<Fetched, BrokerError> {
        if self.bug == Bug::GivesAllToOneMember && self.member.is_multiple_of(2) {
            return std::future::pending().await;
        }
        let asked = if self.bug == Bug::IgnoresBackPressure { max + 1 } else { max };
        let mut fetched = self.inner.fetch(asked).await?;
        if let Fetched::Deliveries(deliveries) = &mut fetched {
            self.handle(deliveries).await?;
        }
        Ok(fetched)
    }

    async fn handle(&mut self, deliveries: &mut [Delivery]) -> Result<(), BrokerError> {
        self.held.lock().unwrap().extend(deliveries.iter().map(|delivery| delivery.receipt));
        match self.bug {
            Bug::AcknowledgesBeforeHandling => self.acknowledge(deliveries.iter().map(|delivery| delivery.receipt)).await?,
            Bug::CountsAttemptsWrong => {
                for delivery in deliveries.iter_mut().filter(|delivery| delivery.attempts > 0) {
                    delivery.attempts = 1;
                }
            }
            // Whoever gives up now has had them, and nobody else will.
            Bug::LosesWhatACancelledFetchHad => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => {}
        }
        Ok(())
    }

    async fn acknowledge(&mut self, receipts: impl Iterator<Item = Receipt>) -> Result<(), BrokerError> {
        let batch: Vec<_> = receipts.map(|receipt| (receipt, Outcome::Ack)).collect();
        self.settle.settle(&batch).await
    }
}

impl Fetch for PlantedFetch {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(self.next(max))
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.bug == Bug::AcknowledgesAtClose {
                let held: Vec<_> = self.held.lock().unwrap().iter().copied().collect();
                self.acknowledge(held.into_iter()).await?;
            }
            *self.shared.left.lock().unwrap().entry(self.group.clone()).or_default() += 1;
            self.inner.close().await
        })
    }
}

pub(crate) struct PlantedSettle {
    pub(crate) inner: Arc<dyn Settle>,
    pub(crate) bug: Bug,
    pub(crate) held: Held,
}

impl PlantedSettle {
    fn outcome(&self, outcome: Outcome) -> Outcome {
        match (self.bug, outcome) {
            (Bug::RedeliversNever, Outcome::Retry { .. }) => Outcome::Ack,
            (Bug::RedeliversTooEarly, Outcome::Retry { after, attempts }) => Outcome::Retry { after: after * 9 / 10, attempts },
            (Bug::RedeliversTooLate, Outcome::Retry { after, attempts }) => Outcome::Retry { after: after * 2, attempts },
            (Bug::KeepsWhatWasRejected, Outcome::Reject) => Outcome::HandBack,
            (Bug::ForgetsWhatIsHandedBack, Outcome::HandBack) => Outcome::Ack,
            (_, outcome) => outcome,
        }
    }
}

impl Settle for PlantedSettle {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.held.lock().unwrap().retain(|held| batch.iter().all(|(receipt, _)| receipt != held));
            let batch: Vec<_> = batch.iter().map(|(receipt, outcome)| (*receipt, self.outcome(*outcome))).collect();
            self.inner.settle(&batch).await
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            let lost = self.inner.extend(batch).await?;
            Ok(if self.bug == Bug::NeverSaysLost { Vec::new() } else { lost })
        })
    }

    fn lease(&self) -> Option<Duration> {
        self.inner.lease()
    }
}

/// A subscription that is one some time after it said so.
pub(crate) struct Late {
    coming: Option<oneshot::Receiver<Result<Subscribed, BrokerError>>>,
    inner: Option<Box<dyn Fetch>>,
    settle: Arc<OnceLock<Arc<dyn Settle>>>,
}

pub(crate) struct LateSettle(Arc<OnceLock<Arc<dyn Settle>>>);

impl Late {
    pub(crate) fn of(halves: oneshot::Receiver<Result<Subscribed, BrokerError>>) -> (Self, LateSettle) {
        let settle = Arc::default();
        (Self { coming: Some(halves), inner: None, settle: Arc::clone(&settle) }, LateSettle(settle))
    }

    async fn arrive(&mut self) -> Result<(), BrokerError> {
        if let Some(coming) = &mut self.coming {
            let (fetch, settle) = coming.await.map_err(|_| closed())??;
            self.inner = Some(fetch);
            let _ = self.settle.set(settle);
            self.coming = None;
        }
        Ok(())
    }
}

impl Fetch for Late {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(async move {
            self.arrive().await?;
            self.inner.as_mut().ok_or_else(closed)?.fetch(max).await
        })
    }

    fn close(mut self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            self.arrive().await?;
            self.inner.take().ok_or_else(closed)?.close().await
        })
    }
}

impl Settle for LateSettle {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.0
            .get()
            .map_or_else(|| Box::pin(std::future::ready(Err(closed()))) as BoxFuture<'a, _>, |settle| settle.settle(batch))
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        self.0
            .get()
            .map_or_else(|| Box::pin(std::future::ready(Err(closed()))) as BoxFuture<'a, _>, |settle| settle.extend(batch))
    }

    fn lease(&self) -> Option<Duration> {
        None
    }
}

fn closed() -> BrokerError {
    BrokerError::Closed { broker: "planted" }
}
