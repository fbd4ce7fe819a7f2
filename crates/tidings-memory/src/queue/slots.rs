//! Where messages stay from publish to settlement.

use std::mem;

use tidings_core::{Key, Message};

use super::MemberId;

/// Messages by the number of their slot; a free slot serves again, in place, so that nothing is allocated or moved.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Entry>,
    free: Vec<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Entry {
    /// None in a free slot.
    message: Option<Message>,
    pub(super) seq: u64,
    pub(super) size: usize,
    pub(super) attempts: u32,
    pub(super) deliveries: u32,
    pub(super) in_hand: Option<Hand>,
}

/// Who has a message in hand, and by which delivery: an older receipt settles nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hand {
    pub(super) member: MemberId,
    pub(super) claim: u64,
}

impl Entry {
    pub(super) fn message(&self) -> Option<&Message> {
        self.message.as_ref()
    }

    pub(super) fn key(&self) -> Option<&Key> {
        self.message.as_ref().and_then(Message::key)
    }
}

impl Slots {
    /// Above this an emptied store gives its memory back: a burst is over.
    pub(super) const KEPT: usize = 4_096;

    pub(super) fn len(&self) -> usize {
        self.all.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn put(&mut self, message: &Message, size: usize, seq: u64) -> usize {
        let slot = self.free.pop().unwrap_or(self.all.len());
        if slot == self.all.len() {
            self.all.push(Entry::default());
        }
        if let Some(entry) = self.all.get_mut(slot) {
            (entry.seq, entry.size, entry.attempts, entry.deliveries) = (seq, size, 0, 0);
            entry.message = Some(message.clone());
        }
        slot
    }

    /// Frees a slot; answers the size of what was there.
    pub(super) fn free(&mut self, slot: usize) -> usize {
        let Some(entry) = self.all.get_mut(slot).filter(|entry| entry.message.is_some()) else { return 0 };
        entry.message = None;
        entry.in_hand = None;
        let size = mem::take(&mut entry.size);
        self.free.push(slot);
        if self.is_empty() && self.all.capacity() > Self::KEPT {
            *self = Self::default();
        }
        size
    }

    pub(super) fn get(&self, slot: usize) -> Option<&Entry> {
        self.all.get(slot)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Entry> {
        self.all.get_mut(slot)
    }

    /// A message's place in the order of publishing.
    pub(super) fn seq(&self, slot: usize) -> u64 {
        self.all.get(slot).map_or(0, |entry| entry.seq)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Entry)> {
        self.all.iter_mut().enumerate()
    }
}
