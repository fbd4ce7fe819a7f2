//! A member of a subscription, between the task that works on the file and the fetching half.
//!
//! What was claimed for a member waits in its mail, so that a fetch that is given up loses nothing.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tidings_core::{Delivery, Receipt};
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Member {
    pub(super) id: i64,
    /// The subscription's id.
    pub(super) line: i64,
    unsettled: usize,
    hand: Mutex<Hand>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Hand {
    mail: VecDeque<Delivery>,
    held: HashSet<Receipt>,
    lost: Vec<Receipt>,
    /// What the fetch that waits asked for.
    asked: usize,
    /// The mail was there at the last look already, and nobody fetches.
    unread: bool,
    ended: bool,
}

/// What a fetch finds.
#[derive(Debug)]
pub(super) enum Found {
    Deliveries(Vec<Delivery>),
    Lost(Vec<Receipt>),
    Nothing,
    End,
}

impl Member {
    pub(super) fn new(id: i64, line: i64, unsettled: usize) -> Self {
        Self { id, line, unsettled: unsettled.max(1), hand: Mutex::default(), news: Notify::new() }
    }

    fn hand(&self) -> MutexGuard<'_, Hand> {
        self.hand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Rung when a fetch should look again; made before looking, it hears what rings in between.
    pub(super) fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }

    /// What is there for a fetch of `max`; nothing is remembered as asked for.
    pub(super) fn find(&self, max: usize) -> Found {
        let hand = &mut *self.hand();
        if !hand.lost.is_empty() {
            return Found::Lost(std::mem::take(&mut hand.lost));
        }
        if hand.ended {
            return Found::End;
        }
        let count = max.min(hand.mail.len());
        if count == 0 {
            hand.asked = max;
            return Found::Nothing;
        }
        hand.unread = false;
        let deliveries: Vec<_> = hand.mail.drain(..count).collect();
        hand.held.extend(deliveries.iter().map(|delivery| delivery.receipt));
        Found::Deliveries(deliveries)
    }

    /// Nobody waits any more.
    pub(super) fn withdraw(&self) {
        self.hand().asked = 0;
    }

    /// How many to claim for it.
    pub(super) fn room(&self) -> usize {
        let hand = self.hand();
        if hand.ended || !hand.mail.is_empty() {
            return 0;
        }
        hand.asked.min(self.unsettled.saturating_sub(hand.held.len()))
    }

    pub(super) fn deliver(&self, deliveries: Vec<Delivery>) {
        let mut hand = self.hand();
        hand.mail.extend(deliveries);
        hand.asked = 0;
        drop(hand);
        self.news.notify_one();
    }

    pub(super) fn settled(&self, receipts: impl Iterator<Item = Receipt>) {
        let mut hand = self.hand();
        for receipt in receipts {
            hand.held.remove(&receipt);
        }
    }

    pub(super) fn holds(&self, receipt: &Receipt) -> bool {
        self.hand().held.contains(receipt)
    }

    /// Mail that nobody has fetched between two calls: others may have it.
    pub(super) fn unread(&self) -> Vec<Receipt> {
        let mut hand = self.hand();
        if hand.mail.is_empty() || !std::mem::replace(&mut hand.unread, true) {
            return Vec::new();
        }
        hand.unread = false;
        hand.mail.drain(..).map(|delivery| delivery.receipt).collect()
    }

    /// All that it had is another's.
    pub(super) fn lose_all(&self) {
        let hand = &mut *self.hand();
        hand.mail.clear();
        hand.lost.extend(hand.held.drain());
        self.news.notify_one();
    }

    pub(super) fn end(&self) {
        let mut hand = self.hand();
        hand.ended = true;
        hand.mail.clear();
        hand.held.clear();
        drop(hand);
        self.news.notify_one();
    }
}
