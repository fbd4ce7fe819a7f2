//! Leases: which deliveries are ours, and until when.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use tidings_core::{Receipt, Settle};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use super::Event;

/// The deliveries that were fetched and not settled, and when each is lost unless it is extended.
#[derive(Debug)]
pub(super) struct Leases {
    length: Duration,
    /// Receipts are not chosen by others: the hash need not resist them.
    until: HashMap<Receipt, Instant, RandomState>,
}

impl Leases {
    fn new(length: Duration) -> Self {
        Self { length, until: HashMap::default() }
    }

    fn hold(&mut self, receipts: impl Iterator<Item = Receipt>, now: Instant) {
        let until = now + self.length;
        self.until.extend(receipts.map(|receipt| (receipt, until)));
    }

    fn release(&mut self, receipts: impl Iterator<Item = Receipt>) {
        for receipt in receipts {
            self.until.remove(&receipt);
        }
    }

    fn held(&self) -> Vec<Receipt> {
        self.until.keys().copied().collect()
    }

    /// Those `asked` for were extended at `sent`, but for the `lost`; answers the latter as far as they were held.
    fn extended(&mut self, asked: &[Receipt], lost: Vec<Receipt>, sent: Instant) -> Vec<Receipt> {
        let until = sent + self.length;
        for receipt in asked {
            // One that was settled meanwhile does not come back.
            self.until.entry(*receipt).and_modify(|old| *old = until);
        }
        lost.into_iter().filter(|receipt| self.until.remove(receipt).is_some()).collect()
    }

    /// Takes out those that nothing was sent for in a whole lease.
    fn expire(&mut self, now: Instant) -> Vec<Receipt> {
        self.until.extract_if(|_, until| *until <= now).map(|(receipt, _)| receipt).collect()
    }
}

/// The leases of a subscription, shared by its loop, its settling and its extending.
#[derive(Debug, Clone)]
pub(super) struct Held(Option<Arc<Mutex<Leases>>>);

impl Held {
    /// For an engine that lends by time; `None` is one that does not, where nothing is to do.
    pub(super) fn new(length: Option<Duration>) -> Self {
        Self(length.map(|length| Arc::new(Mutex::new(Leases::new(length)))))
    }

    fn lock(&self) -> Option<MutexGuard<'_, Leases>> {
        Some(self.0.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn hold(&self, receipts: impl Iterator<Item = Receipt>, now: Instant) {
        if let Some(mut leases) = self.lock() {
            leases.hold(receipts, now);
        }
    }

    pub(super) fn release(&self, receipts: impl Iterator<Item = Receipt>) {
        if let Some(mut leases) = self.lock() {
            leases.release(receipts);
        }
    }

    /// Extends what is held, for ever; a task of its own, so that no handler and no settlement keeps it.
    pub(super) async fn keep(self, settle: Arc<dyn Settle>, events: UnboundedSender<Event>) {
        let Some(length) = self.lock().map(|leases| leases.length) else { return };
        // Two may fail before one is lost.
        let mut ticks = interval(length / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let asked = self.lock().map(|leases| leases.held()).unwrap_or_default();
            if asked.is_empty() {
                continue;
            }
            let sent = Instant::now();
            let mut lost = match timeout(length / 3, settle.extend(&asked)).await {
                Ok(Ok(lost)) => self.lock().map(|mut leases| leases.extended(&asked, lost, sent)).unwrap_or_default(),
                Ok(Err(error)) => {
                    tracing::warn!(error = crate::error::chain(&error), "leases could not be extended; trying again");
                    Vec::new()
                }
                Err(_) => {
                    tracing::warn!("leases could not be extended in time; trying again");
                    Vec::new()
                }
            };
            lost.extend(self.lock().map(|mut leases| leases.expire(Instant::now())).unwrap_or_default());
            if !lost.is_empty() && events.send(Event::Lost(lost)).is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(30);

    fn receipt(n: u64) -> Receipt {
        Receipt([n, 0, 0])
    }

    fn held(now: Instant) -> Leases {
        let mut leases = Leases::new(LENGTH);
        leases.hold((1..=3).map(receipt), now);
        leases
    }

    #[test]
    fn a_lease_is_counted_from_when_its_extension_was_sent() {
        let start = Instant::now();
        let mut leases = held(start);
        assert!(leases.extended(&[receipt(1), receipt(2)], vec![], start + LENGTH / 2).is_empty());
        assert_eq!(leases.expire(start + LENGTH), [receipt(3)]);
        assert_eq!(leases.expire(start + LENGTH + LENGTH / 2).len(), 2);
    }

    #[test]
    fn what_the_engine_says_is_lost_is_lost_unless_it_was_settled_meanwhile() {
        let start = Instant::now();
        let mut leases = held(start);
        let asked = leases.held();
        leases.release([receipt(1), receipt(3)].into_iter());
        assert_eq!(leases.extended(&asked, vec![receipt(2), receipt(3)], start), [receipt(2)]);
        assert!(leases.held().is_empty());
    }
}
