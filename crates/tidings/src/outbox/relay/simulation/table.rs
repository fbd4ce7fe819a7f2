//! An outbox's table as a list.

use std::collections::BTreeMap;

use proptest::prop_assert_eq;
use tidings_core::{Key, Message, Source, Topic};

use super::super::{cursor::Span, plan::Taken};
use crate::delivery::simulation::Checked;

#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<i64, Row>,
    /// The keys of all that was ever written, by number.
    keys: Vec<Option<u8>>,
    deleted: usize,
}

#[derive(Debug)]
struct Row {
    key: Option<u8>,
    committed: bool,
}

impl Table {
    /// A number is given when a row is written, whenever its transaction commits.
    fn write(&mut self, key: Option<u8>, committed: bool) {
        self.keys.push(key);
        self.rows.insert(i64::try_from(self.keys.len()).unwrap_or(i64::MAX), Row { key, committed });
    }

    pub(super) fn publish(&mut self, key: Option<u8>, rows: usize) {
        if !self.is_locked(key) {
            (0..rows).for_each(|_| self.write(key, true));
        }
    }

    pub(super) fn begin(&mut self, key: Option<u8>) {
        if !self.is_locked(key) {
            self.write(key, false);
        }
    }

    /// Whether a transaction is open that wrote this key: another one waits for it.
    fn is_locked(&self, key: Option<u8>) -> bool {
        key.is_some() && self.rows.values().any(|row| !row.committed && row.key == key)
    }

    pub(super) fn commit(&mut self, which: usize) {
        let open = self.rows.values().filter(|row| !row.committed).count();
        let mut uncommitted = self.rows.values_mut().filter(|row| !row.committed);
        if let Some(row) = uncommitted.nth(which % open.max(1)) {
            row.committed = true;
        }
    }

    /// Whether one was open.
    pub(super) fn commit_one(&mut self) -> bool {
        let open = self.rows.values().any(|row| !row.committed);
        self.commit(0);
        open
    }

    /// What the statement in `store.rs` finds.
    pub(super) fn look(&self, span: &Span, most: usize) -> Vec<Taken> {
        let is_full = |key: Option<u8>| key.is_some_and(|key| span.full_keys.contains(&key.to_string()));
        let seen = self
            .rows
            .iter()
            .filter(|(seq, row)| row.committed && span.after < **seq && **seq <= span.up_to && !span.in_hand.contains(seq));
        let found = seen.filter(|(_, row)| !is_full(row.key)).take(most);
        found.map(|(seq, row)| Taken { seq: *seq, message: message(row.key) }).collect()
    }

    /// The last row that is seen.
    pub(super) fn newest(&self) -> i64 {
        self.rows.iter().rev().find(|(_, row)| row.committed).map_or(0, |(seq, _)| *seq)
    }

    /// The key of a row, deleted or not.
    pub(super) fn key(&self, seq: i64) -> Option<u8> {
        self.keys.get(usize::try_from(seq).ok()? - 1).copied().flatten()
    }

    pub(super) fn has(&self, seq: i64) -> bool {
        self.rows.get(&seq).is_some_and(|row| row.committed)
    }

    /// Those with a key, in order.
    pub(super) fn keyed_rows(&self) -> impl Iterator<Item = (i64, u8)> {
        self.rows.iter().filter_map(|(seq, row)| Some((*seq, row.key?)))
    }

    /// The rows that are before this one of its key.
    pub(super) fn before(&self, seq: i64) -> impl Iterator<Item = i64> {
        let key = self.key(seq);
        self.rows.range(..seq).filter(move |(_, row)| key.is_some() && row.key == key).map(|(seq, _)| *seq)
    }

    /// Whether it was there.
    pub(super) fn delete(&mut self, seq: i64) -> bool {
        let deleted = self.rows.remove(&seq).is_some();
        self.deleted += usize::from(deleted);
        deleted
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn check_all_went(&self) -> Checked {
        prop_assert_eq!(self.deleted, self.keys.len(), "each row is deleted once");
        Ok(())
    }
}

fn message(key: Option<u8>) -> Message {
    let message = Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), bytes::Bytes::new());
    message.key(key.map(|key| Key::new(&key.to_string()).unwrap())).build()
}
