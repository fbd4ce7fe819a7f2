//! What is in hand on NATS core: the server forgot it when it sent it, so what is to come again is kept here.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidings_core::{BoxFuture, BrokerError, Delivery, Message, Outcome, Receipt, Settle};
use tokio::{sync::Notify, time::Instant};

/// Longer waits than this are cut; a century would overflow the clock.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The unsettled deliveries of one subscription; the settling half.
#[derive(Default)]
pub(super) struct Hand {
    state: Mutex<State>,
    /// Tells the fetching half that there is something to bring again, or room.
    news: Notify,
}

/// How things stand.
pub(super) struct Look {
    /// What is to come again by now.
    pub(super) again: Vec<Delivery>,
    /// How many are unsettled, or wait to come again.
    pub(super) unsettled: usize,
    /// When the next one is to come again.
    pub(super) next: Option<Instant>,
}

#[derive(Default)]
struct State {
    slots: Vec<Option<Kept>>,
    free: Vec<usize>,
    /// Slots that wait for their time, in order of it and then of their arrival.
    waiting: BTreeMap<(Instant, u64), usize>,
    /// Tells the deliveries that used one slot apart.
    stamp: u64,
    left: bool,
}

struct Kept {
    message: Message,
    arrived: u64,
    stamp: u64,
    attempts: u32,
}

impl Hand {
    /// Keeps what was just received, and gives it receipts.
    pub(super) fn admit(&self, received: &mut [Delivery]) {
        let mut state = self.lock();
        for delivery in received {
            state.admit(delivery);
        }
    }

    /// Takes what is to come again by now, up to `max`, and tells how things stand.
    pub(super) fn look(&self, max: usize) -> Look {
        self.look_at(max, Instant::now)
    }

    fn look_at(&self, max: usize, now: impl FnOnce() -> Instant) -> Look {
        let mut state = self.lock();
        let mut again = Vec::new();
        if state.waiting.is_empty() {
            return Look { again, unsettled: state.len(), next: None };
        }
        let now = now();
        while again.len() < max
            && let Some(first) = state.waiting.first_entry()
            && first.key().0 <= now
        {
            let slot = first.remove();
            again.extend(state.again(slot));
        }
        Look { again, unsettled: state.len(), next: state.waiting.first_key_value().map(|((at, _), _)| *at) }
    }

    /// Waits for something to bring again, or for room.
    pub(super) async fn changed(&self) {
        self.news.notified().await;
    }

    /// Forgets all, as the subscription ends: how many it was.
    pub(super) fn leave(&self) -> usize {
        let ended = State { left: true, ..State::default() };
        std::mem::replace(&mut *self.lock(), ended).len()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many are unsettled, or wait to come again.
    fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn admit(&mut self, delivery: &mut Delivery) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.stamp += 1;
        delivery.receipt = Receipt([slot as u64, self.stamp, 0]);
        self.slots[slot] = Some(Kept { message: delivery.message.clone(), arrived: self.stamp, stamp: self.stamp, attempts: 0 });
    }

    fn again(&mut self, slot: usize) -> Option<Delivery> {
        let kept = self.slots.get_mut(slot)?.as_mut()?;
        self.stamp += 1;
        kept.stamp = self.stamp;
        let receipt = Receipt([slot as u64, self.stamp, 0]);
        Some(Delivery { message: kept.message.clone(), receipt, attempts: kept.attempts, deliveries: None })
    }

    /// Settles one; whether the fetching half has something to bring again.
    fn settle(&mut self, receipt: Receipt, outcome: Outcome, now: Instant) -> bool {
        let Some((slot, kept)) = self.find(receipt) else { return false };
        let after = match outcome {
            Outcome::Ack | Outcome::Reject => {
                self.slots[slot] = None;
                self.free.push(slot);
                return false;
            }
            Outcome::Retry { after, attempts } => {
                kept.attempts = attempts;
                after.min(LONGEST_WAIT)
            }
            Outcome::HandBack => Duration::ZERO,
        };
        // This delivery is over: its receipt names nothing from here on.
        kept.stamp = 0;
        let arrived = kept.arrived;
        self.waiting.insert((now + after, arrived), slot);
        true
    }

    fn find(&mut self, Receipt([slot, stamp, _]): Receipt) -> Option<(usize, &mut Kept)> {
        let slot = usize::try_from(slot).ok()?;
        let kept = self.slots.get_mut(slot)?.as_mut().filter(|kept| kept.stamp == stamp)?;
        Some((slot, kept))
    }
}

impl Settle for Hand {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        let now = Instant::now();
        let mut state = self.lock();
        let full = state.free.is_empty();
        let mut again = false;
        for (receipt, outcome) in batch {
            again |= state.settle(*receipt, *outcome, now);
        }
        let left = state.left;
        drop(state);
        if again || full {
            self.news.notify_one();
        }
        let closed = left.then_some(BrokerError::Closed { broker: "nats" });
        Box::pin(std::future::ready(closed.map_or(Ok(()), Err)))
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        let _ = batch;
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    fn lease(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_core::{Source, Topic};

    use super::*;

    fn message() -> Message {
        Message::builder(Topic::new("a.b").unwrap(), Source::new("/t").unwrap(), Bytes::new()).build()
    }

    fn admit(hand: &Hand, messages: impl IntoIterator<Item = Message>) -> Vec<Delivery> {
        let receipt = Receipt([0; 3]);
        let new = |message| Delivery { message, receipt, attempts: 0, deliveries: None };
        let mut received: Vec<_> = messages.into_iter().map(new).collect();
        hand.admit(&mut received);
        received
    }

    async fn settle(hand: &Hand, receipt: Receipt, outcome: Outcome) {
        hand.settle(&[(receipt, outcome)]).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_to_be_retried_comes_again_and_not_earlier() {
        let hand = Hand::default();
        let [first, second] = [message(), message()];
        let deliveries = admit(&hand, [first.clone(), second]);
        settle(&hand, deliveries[0].receipt, Outcome::Retry { after: Duration::from_secs(2), attempts: 1 }).await;
        settle(&hand, deliveries[1].receipt, Outcome::Ack).await;
        let now = Instant::now();
        let early = hand.look_at(10, || now + Duration::from_millis(1900));
        assert!(early.again.is_empty() && early.next.unwrap() > now + Duration::from_millis(1900));
        let again = hand.look_at(10, || now + Duration::from_secs(2)).again;
        assert_eq!((again.len(), again[0].attempts, again[0].message.id()), (1, 1, first.id()));
        assert_eq!(hand.look(1).unsettled, 1);
    }

    #[tokio::test]
    async fn a_receipt_settles_once() {
        let hand = Hand::default();
        let first = admit(&hand, [message()]).remove(0).receipt;
        settle(&hand, first, Outcome::HandBack).await;
        settle(&hand, first, Outcome::Ack).await;
        let again = hand.look(1).again.remove(0).receipt;
        settle(&hand, first, Outcome::Ack).await;
        assert_eq!(hand.look(0).unsettled, 1);
        settle(&hand, again, Outcome::Reject).await;
        assert_eq!(hand.look(0).unsettled, 0);
        settle(&hand, Receipt([99, 99, 99]), Outcome::Ack).await;
    }

    #[tokio::test]
    async fn slots_are_used_again_and_order_is_kept() {
        let hand = Hand::default();
        for _ in 0..3 {
            let deliveries = admit(&hand, (0..100).map(|_| message()));
            for delivery in &deliveries {
                settle(&hand, delivery.receipt, Outcome::HandBack).await;
            }
            let again = hand.look(1000).again;
            assert!(again.iter().map(|a| a.message.id()).eq(deliveries.iter().map(|d| d.message.id())));
            for delivery in again {
                settle(&hand, delivery.receipt, Outcome::Ack).await;
            }
        }
        assert_eq!(hand.lock().slots.len(), 100);
    }
}
