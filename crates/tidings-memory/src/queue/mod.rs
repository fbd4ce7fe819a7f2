//! What one subscription has to do: a state machine without locks, tasks or clocks of its own.
//!
//! A message is in exactly one place until it is settled: `ready`, `waiting` for its next attempt, in a member's own
//! queue, or in hand. It stays in its slot all the while; the queues hold numbers of slots, so that a delivery moves and
//! allocates nothing.

mod settle;
mod slots;

pub(crate) use settle::Settled;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;
use slots::{Hand, Slots};
use tidings_core::{Delivery, Key, Message, Receipt};
use tokio::{sync::Notify, time::Instant};

/// The backlog of one subscription and its members.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    slots: Slots,
    bytes: usize,
    /// In publish order.
    ready: VecDeque<usize>,
    waiting: BinaryHeap<Reverse<(Instant, usize)>>,
    members: Vec<Member>,
    /// The keys in hand, while there are members to keep apart: a single one is given everything in order.
    lanes: Option<HashMap<Key, Lane, RandomState>>,
    next_seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemberId(pub(crate) u64);

#[derive(Debug)]
struct Member {
    id: MemberId,
    /// Messages of keys that it has in hand, found when another member looked for work.
    own: VecDeque<usize>,
    in_hand: usize,
    unsettled: usize,
    /// Rung when there is room again in `unsettled`.
    bell: Arc<Notify>,
}

/// A key in hand.
#[derive(Debug)]
struct Lane {
    holder: MemberId,
    /// Messages in hand or in the holder's own queue.
    count: usize,
}

/// What looking for work brought.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) deliveries: Vec<Delivery>,
    /// Whether something is left for others: wake them.
    pub(crate) others: Others,
    /// What to wait for when there are no deliveries.
    pub(crate) until: Until,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Others {
    Nothing,
    /// Any member may take it.
    Any,
    /// A certain member has to.
    Holder,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The next message, or that time.
    News(Option<Instant>),
    /// A settlement of the member's own.
    Room,
}

impl Queue {
    /// Whether a message of that size has to wait. A single one never does.
    pub(crate) fn is_full(&self, size: usize, max_messages: usize, max_bytes: usize) -> bool {
        !self.slots.is_empty() && (self.slots.len() >= max_messages || self.bytes + size > max_bytes)
    }

    pub(crate) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(crate) fn push(&mut self, message: &Message, size: usize) {
        self.ready.push_back(self.slots.put(message, size, self.next_seq));
        self.next_seq += 1;
        self.bytes += size;
    }

    pub(crate) fn join(&mut self, id: MemberId, unsettled: usize, bell: Arc<Notify>) {
        self.members.push(Member { id, own: VecDeque::new(), in_hand: 0, unsettled, bell });
        if self.members.len() == 2 {
            self.keep_apart();
        }
    }

    /// Begins to look at keys: those in hand are the first member's.
    fn keep_apart(&mut self) {
        let mut lanes = HashMap::<_, Lane, _>::default();
        for (_, entry) in self.slots.iter_mut() {
            if let (Some(key), Some(hand)) = (entry.key(), entry.in_hand) {
                lanes.entry(key.clone()).or_insert(Lane { holder: hand.member, count: 0 }).count += 1;
            }
        }
        self.lanes = Some(lanes);
    }

    /// Ends a member: what it did not settle goes back in order.
    pub(crate) fn leave(&mut self, id: MemberId) {
        let Some(place) = self.place_of(id) else { return };
        self.ready.extend(self.members.swap_remove(place).own);
        for (slot, entry) in self.slots.iter_mut() {
            if entry.in_hand.take_if(|hand| hand.member == id).is_some() {
                self.ready.push_back(slot);
            }
        }
        if let [last] = &mut self.members[..] {
            self.ready.append(&mut last.own);
            self.lanes = None;
        } else if let Some(lanes) = &mut self.lanes {
            lanes.retain(|_, lane| lane.holder != id);
        }
        self.ready.make_contiguous().sort_unstable_by_key(|slot| self.slots.seq(*slot));
    }

    /// Takes up to `max` messages in hand; `None` when the member has left.
    ///
    /// `place` and `claims` make receipts that are used once. The clock is asked only while something waits.
    pub(crate) fn take(
        &mut self,
        place: usize,
        id: MemberId,
        max: usize,
        claims: &mut u64,
        now: impl FnOnce() -> Instant,
    ) -> Option<Taken> {
        let member = self.place_of(id)?;
        if !self.waiting.is_empty() {
            self.wake_due(now());
        }
        let mut taken = Taken { deliveries: Vec::new(), others: Others::Nothing, until: Until::Room };
        let room = max.min(self.members[member].unsettled - self.members[member].in_hand);
        if room == 0 {
            return Some(taken);
        }
        let there = self.ready.len() + self.members[member].own.len();
        if there > 0 {
            taken.deliveries.reserve_exact(there.min(room));
        }
        while taken.deliveries.len() < room
            && let Some(slot) = self.next(member, &mut taken.others)
        {
            let Some(entry) = self.slots.get_mut(slot) else { continue };
            let Some(message) = entry.message().cloned() else { continue };
            *claims += 1;
            entry.in_hand = Some(Hand { member: id, claim: *claims });
            entry.deliveries = entry.deliveries.saturating_add(1);
            taken.deliveries.push(Delivery {
                message,
                receipt: Receipt([place as u64, slot as u64, *claims]),
                attempts: entry.attempts,
                deliveries: Some(entry.deliveries),
            });
        }
        self.members[member].in_hand += taken.deliveries.len();
        if taken.others == Others::Nothing && !self.ready.is_empty() && self.members.len() > 1 {
            taken.others = Others::Any;
        }
        taken.until = Until::News(self.waiting.peek().map(|Reverse((due, _))| *due));
        Some(taken)
    }

    /// The next message for a member, past those whose key another has in hand.
    fn next(&mut self, member: usize, others: &mut Others) -> Option<usize> {
        if let Some(slot) = self.members[member].own.pop_front() {
            return Some(slot);
        }
        let Some(lanes) = &mut self.lanes else { return self.ready.pop_front() };
        let id = self.members[member].id;
        while let Some(slot) = self.ready.pop_front() {
            let Some(key) = self.slots.get(slot).and_then(|entry| entry.key()) else { return Some(slot) };
            let Some(lane) = lanes.get_mut(key) else {
                lanes.insert(key.clone(), Lane { holder: id, count: 1 });
                return Some(slot);
            };
            lane.count += 1;
            if lane.holder == id {
                return Some(slot);
            }
            if let Some(holder) = self.members.iter_mut().find(|member| member.id == lane.holder) {
                holder.own.push_back(slot);
                *others = Others::Holder;
            }
        }
        None
    }

    fn wake_due(&mut self, now: Instant) {
        while let Some(Reverse((due, slot))) = self.waiting.peek().copied()
            && due <= now
        {
            self.waiting.pop();
            self.put_back(slot);
        }
    }

    fn place_of(&self, id: MemberId) -> Option<usize> {
        self.members.iter().position(|member| member.id == id)
    }
}

#[cfg(test)]
mod tests;
