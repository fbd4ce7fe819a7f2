//! The two halves of a subscription: what [`Hand`] decides, done with the engine.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidings_core::{BoxFuture, BrokerError, Fetch, Fetched, Outcome, Receipt, Settle, Subscribed};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::hand::Hand;

/// The most deliveries that are held back; the engine keeps the others.
const MOST_HELD: usize = 1_024;

/// Puts a hand between an engine's subscription and whoever reads it.
pub(super) fn between(hand: Hand, (fetch, settle): Subscribed) -> Subscribed {
    let shared = Arc::new(Shared { hand: Mutex::new(hand), news: Notify::new(), settle });
    (Box::new(Fetcher { shared: Arc::clone(&shared), fetch }), Arc::new(Settler(shared)))
}

/// What both halves have.
struct Shared {
    hand: Mutex<Hand>,
    /// Something was settled: what it kept back may go on.
    news: Notify,
    settle: Arc<dyn Settle>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands back to the engine what is to go back; what is not told when this is dropped is told the next time.
    async fn hand_back(&self) -> Result<(), BrokerError> {
        let batch: Vec<_> = {
            let mut hand = self.lock();
            hand.open_keys();
            hand.returning.iter().map(|receipt| (*receipt, Outcome::HandBack)).collect()
        };
        if !batch.is_empty() {
            self.settle.settle(&batch).await?;
            self.lock().returning.drain(..batch.len());
        }
        Ok(())
    }

    /// What is ready to be answered.
    fn ready(&self, max: usize, now: Instant) -> Option<Fetched> {
        let mut hand = self.lock();
        if let Some(taken) = hand.taken_away(now) {
            return Some(taken);
        }
        let deliveries = hand.hand_over(max, now);
        (!deliveries.is_empty()).then_some(Fetched::Deliveries(deliveries))
    }

    /// How many more the engine may bring, and when to look again although nothing was heard.
    fn wants(&self, max: usize, now: Instant) -> (usize, Option<Instant>) {
        let hand = self.lock();
        (max.min(MOST_HELD.saturating_sub(hand.held())), hand.next_due(now))
    }

    /// Takes in what the engine brought; answers what is passed on at once.
    fn take_in(&self, fetched: Fetched) -> Option<Fetched> {
        let mut hand = self.lock();
        let passed_on = match fetched {
            Fetched::Deliveries(deliveries) => {
                hand.take_in(deliveries, Instant::now());
                return None;
            }
            Fetched::Leaving(receipts) => Fetched::Leaving(hand.engine_asks_for(&receipts)),
            Fetched::Lost(receipts) => Fetched::Lost(hand.engine_took(&receipts)),
        };
        let (Fetched::Leaving(receipts) | Fetched::Lost(receipts)) = &passed_on else { return None };
        (!receipts.is_empty()).then_some(passed_on)
    }
}

struct Fetcher {
    shared: Arc<Shared>,
    fetch: Box<dyn Fetch>,
}

impl Fetch for Fetcher {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        let Self { shared, fetch } = self;
        Box::pin(async move {
            loop {
                shared.hand_back().await?;
                let now = Instant::now();
                if let Some(ready) = shared.ready(max, now) {
                    return Ok(ready);
                }
                let (room, due) = shared.wants(max, now);
                let fetched = tokio::select! {
                    fetched = fetch.fetch(room) => Some(fetched?),
                    () = alarm(due) => None,
                    () = shared.news.notified() => None,
                };
                // No await before it is kept: a dropped future loses nothing.
                if let Some(passed_on) = fetched.and_then(|fetched| shared.take_in(fetched)) {
                    return Ok(passed_on);
                }
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        self.fetch.close()
    }
}

async fn alarm(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

struct Settler(Arc<Shared>);

impl Settle for Settler {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let told: Vec<_> = {
                let mut hand = self.0.lock();
                batch.iter().filter_map(|(receipt, outcome)| hand.settle(*receipt, *outcome)).collect()
            };
            if !told.is_empty() {
                self.0.settle.settle(&told).await?;
                self.0.lock().settled(&told);
            }
            self.0.news.notify_one();
            Ok(())
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            let ours: Vec<_> = {
                let hand = self.0.lock();
                batch.iter().map(|receipt| (*receipt, hand.engines(*receipt))).collect()
            };
            let engines: Vec<Receipt> = ours.iter().filter_map(|(_, engines)| *engines).collect();
            let lost = self.0.settle.extend(&engines).await?;
            let is_lost = |engines: &Option<Receipt>| engines.is_none_or(|engines| lost.contains(&engines));
            Ok(ours.into_iter().filter(|(_, engines)| is_lost(engines)).map(|(receipt, _)| receipt).collect())
        })
    }

    fn lease(&self) -> Option<Duration> {
        self.0.settle.lease()
    }
}
