//! Which rows may be sent now. Pure; neither database nor broker.
//!
//! A row with a key is sent when the one before it of its key is gone; all others at once.

use std::collections::{BTreeSet, HashMap, VecDeque};

use tidings_core::{Key, Message};

/// A row that was read and is not gone yet.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) seq: i64,
    pub(super) message: Message,
}

/// The rows in hand.
#[derive(Debug, Default)]
pub(super) struct Plan {
    in_hand: BTreeSet<i64>,
    /// For each key in hand, what waits behind its first row.
    waiting: HashMap<Key, VecDeque<Taken>>,
    ready: VecDeque<Taken>,
}

impl Plan {
    /// The most rows in hand: four looks of 512.
    pub(super) const MOST: usize = 2048;
    /// The most rows of one key in hand, so that one hot key leaves room for others.
    pub(super) const MOST_OF_KEY: usize = 64;

    /// How many more rows may be taken.
    pub(super) fn room(&self) -> usize {
        Self::MOST - self.in_hand.len().min(Self::MOST)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_hand.is_empty()
    }

    /// What the next look passes over: rows in hand.
    pub(super) fn in_hand(&self) -> Vec<i64> {
        self.in_hand.iter().copied().collect()
    }

    /// What the next look passes over: keys of which enough is in hand.
    pub(super) fn full_keys(&self) -> Vec<String> {
        let full = self.waiting.iter().filter(|(_, waiting)| waiting.len() + 1 >= Self::MOST_OF_KEY);
        full.map(|(key, _)| key.to_string()).collect()
    }

    /// Takes a row, the next of its key.
    pub(super) fn take(&mut self, row: Taken) {
        if !self.in_hand.insert(row.seq) {
            return;
        }
        match row.message.key() {
            Some(key) => match self.waiting.get_mut(key) {
                Some(waiting) => waiting.push_back(row),
                None => {
                    self.waiting.insert(key.clone(), VecDeque::new());
                    self.ready.push_back(row);
                }
            },
            None => self.ready.push_back(row),
        }
    }

    /// The rows to send now, at most `most`.
    pub(super) fn batch(&mut self, most: usize) -> Vec<Taken> {
        self.ready.drain(..self.ready.len().min(most)).collect()
    }

    /// This row is gone from the outbox: the next of its key may go.
    pub(super) fn gone(&mut self, row: &Taken) {
        self.in_hand.remove(&row.seq);
        let Some(key) = row.message.key() else { return };
        match self.waiting.get_mut(key).and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => drop(self.waiting.remove(key)),
        }
    }

    /// This row was not sent. It and all that waits behind it are read again, in order.
    pub(super) fn again(&mut self, row: &Taken) {
        self.in_hand.remove(&row.seq);
        let waiting = row.message.key().and_then(|key| self.waiting.remove(key)).unwrap_or_default();
        for behind in waiting {
            self.in_hand.remove(&behind.seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{Source, Topic};

    use super::*;

    fn row(seq: i64, key: Option<&str>) -> Taken {
        let message = Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), bytes::Bytes::new());
        Taken { seq, message: message.key(key.map(|key| Key::new(key).unwrap())).build() }
    }

    fn seqs(rows: &[Taken]) -> Vec<i64> {
        rows.iter().map(|row| row.seq).collect()
    }

    #[test]
    fn a_keyed_row_waits_for_the_one_before_it_and_others_do_not() {
        let mut plan = Plan::default();
        for (seq, key) in [(1, Some("a")), (2, Some("a")), (3, Some("b")), (4, None), (5, Some("a"))] {
            plan.take(row(seq, key));
        }
        let first = plan.batch(10);
        assert_eq!(seqs(&first), [1, 3, 4]);
        assert!(plan.batch(10).is_empty());
        plan.gone(&first[0]);
        assert_eq!(seqs(&plan.batch(10)), [2]);
    }

    #[test]
    fn a_failed_row_is_read_again_with_all_that_waits_behind_it() {
        let mut plan = Plan::default();
        for seq in 1..=3 {
            plan.take(row(seq, Some("a")));
        }
        plan.take(row(4, Some("b")));
        let batch = plan.batch(10);
        plan.again(&batch[0]);
        assert_eq!(plan.in_hand(), [4]);
        plan.take(row(1, Some("a")));
        assert_eq!(seqs(&plan.batch(10)), [1]);
    }

    #[test]
    fn a_hot_key_is_passed_over_once_enough_of_it_is_in_hand() {
        let mut plan = Plan::default();
        for seq in 0..64 {
            assert!(plan.full_keys().is_empty());
            plan.take(row(seq, Some("hot")));
        }
        assert_eq!(plan.full_keys(), ["hot"]);
        assert_eq!(plan.room(), Plan::MOST - 64);
    }

    #[test]
    fn a_row_is_taken_once_and_nothing_is_left_at_the_end() {
        let mut plan = Plan::default();
        plan.take(row(1, Some("a")));
        plan.take(row(1, Some("a")));
        let batch = plan.batch(10);
        assert_eq!(seqs(&batch), [1]);
        plan.gone(&batch[0]);
        assert!(plan.is_empty() && plan.waiting.is_empty() && plan.ready.is_empty());
    }
}
