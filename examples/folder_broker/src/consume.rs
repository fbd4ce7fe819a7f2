//! The two halves of a subscription, over an [`Instance`].

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::{BoxFuture, BrokerError, Delivery, Fetch, Fetched, Outcome, Receipt, Settle};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{Opening, instance::Instance, name::Name, queue::Queue, wire};

/// The half that fetches.
pub(crate) struct Fetcher {
    opening: Arc<Opening>,
    instance: Arc<Instance>,
    /// One look after another, or a later one could bring what an earlier one that was given up is about to give back.
    turn: Arc<Mutex<()>>,
    /// The subscription is new, and whoever asked for it does not have it yet.
    new: bool,
}

/// The half that settles.
pub(crate) struct Settler {
    opening: Arc<Opening>,
    instance: Arc<Instance>,
}

impl Fetcher {
    /// Joins a subscription.
    pub(crate) fn join(opening: Arc<Opening>, queue: Queue, unsettled: usize) -> Result<Self, BrokerError> {
        let (instance, new) = Instance::join(queue, unsettled).map_err(|error| opening.failed(error))?;
        let fetcher = Self { opening, instance: Arc::new(instance), turn: Arc::default(), new };
        fetcher.opening.remember(&fetcher.instance)?;
        Ok(fetcher)
    }

    /// The other half; from now on it is somebody's.
    pub(crate) fn settler(&mut self) -> Settler {
        self.new = false;
        Settler { opening: Arc::clone(&self.opening), instance: Arc::clone(&self.instance) }
    }
}

impl Fetch for Fetcher {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(async move {
            loop {
                self.opening.check()?;
                let turn = Arc::clone(&self.turn).lock_owned().await;
                let room = max.min(self.instance.room());
                if room > 0 {
                    let (opening, instance) = (Arc::clone(&self.opening), Arc::clone(&self.instance));
                    let claim = self.opening.apart(move || Claim::make(&opening, &instance, turn, room)).await?;
                    let deliveries = claim.keep();
                    if !deliveries.is_empty() {
                        return Ok(Fetched::Deliveries(deliveries));
                    }
                }
                tokio::time::sleep(self.opening.poll).await;
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            let (opening, instance) = (Arc::clone(&self.opening), Arc::clone(&self.instance));
            let leaving = move || instance.leave().map_err(|error| opening.failed(error));
            self.opening.apart(leaving).await
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.instance.drop_dead();
        if self.new {
            self.instance.undo();
        }
    }
}

/// Messages that were taken, until somebody has them: a claim that is dropped gives them back. So a fetch that is given up
/// loses nothing, wherever it was.
struct Claim {
    instance: Arc<Instance>,
    taken: Vec<(Name, Name)>,
    deliveries: Vec<Delivery>,
    _turn: OwnedMutexGuard<()>,
}

impl Claim {
    fn make(opening: &Opening, instance: &Arc<Instance>, turn: OwnedMutexGuard<()>, max: usize) -> Result<Self, BrokerError> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let mut claim = Self { instance: Arc::clone(instance), taken: Vec::new(), deliveries: Vec::new(), _turn: turn };
        let mut damaged = None;
        let claimed = instance.claim(max, |before, name, content| {
            let receipt = Receipt([LAST.fetch_add(1, Ordering::Relaxed), 0, 0]);
            match wire::read(content, &name.id) {
                Some(message) => {
                    let (attempts, deliveries) = (name.attempts, Some(name.deliveries));
                    claim.deliveries.push(Delivery { message, receipt, attempts, deliveries });
                }
                None => damaged = Some(before.to_string()),
            }
            claim.taken.push((before, name));
        });
        claimed.map_err(|error| opening.failed(error))?;
        match damaged {
            Some(place) => Err(BrokerError::Corrupt { place, reason: "it holds no message; remove the file".to_owned() }),
            None => Ok(claim),
        }
    }

    fn keep(mut self) -> Vec<Delivery> {
        let deliveries = mem::take(&mut self.deliveries);
        for (delivery, (_, name)) in deliveries.iter().zip(mem::take(&mut self.taken)) {
            self.instance.hold(delivery.receipt.0[0], name);
        }
        deliveries
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.taken.is_empty() {
            // What cannot be given back now is when the instance ends.
            let _ = self.instance.unclaim(&self.taken);
        }
    }
}

impl Settle for Settler {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.opening.check()?;
            let (opening, instance, batch) = (Arc::clone(&self.opening), Arc::clone(&self.instance), batch.to_vec());
            self.opening.apart(move || instance.settle(&batch).map_err(|error| opening.failed(error))).await
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            self.opening.check()?;
            Ok(self.instance.lost(batch))
        })
    }

    fn lease(&self) -> Option<Duration> {
        None
    }
}
