//! How a delivery ends, and where its message goes then.

use std::{cmp::Reverse, collections::VecDeque};

use tidings_core::Outcome;
use tokio::time::Instant;

use super::{MemberId, Queue, slots::Slots};

/// What a settlement leaves to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// There is room for whoever publishes.
    pub(crate) room: bool,
    /// A message comes again: whoever waits looks when.
    pub(crate) again: bool,
}

impl Queue {
    /// Ends a delivery; a lost one is passed over, since its message comes again.
    pub(crate) fn settle(
        &mut self,
        slot: usize,
        claim: u64,
        outcome: Outcome,
        settled: &mut Settled,
        now: impl FnOnce() -> Instant,
    ) {
        let in_hand = self.slots.get_mut(slot).map(|entry| &mut entry.in_hand);
        let Some(hand) = in_hand.and_then(|hand| hand.take_if(|hand| hand.claim == claim)) else { return };
        self.release(hand.member);
        match outcome {
            Outcome::Ack | Outcome::Reject => {
                self.free_lane(slot);
                self.bytes -= self.slots.free(slot);
                self.tidy();
                settled.room = true;
            }
            Outcome::HandBack => self.put_back_held(slot, hand.member, settled),
            Outcome::Retry { after, attempts } => {
                if let Some(entry) = self.slots.get_mut(slot) {
                    entry.attempts = attempts.max(entry.attempts.saturating_add(1));
                }
                match now().checked_add(after).filter(|_| !after.is_zero()) {
                    Some(due) => {
                        self.free_lane(slot);
                        self.waiting.push(Reverse((due, slot)));
                        settled.again = true;
                    }
                    None => self.put_back_held(slot, hand.member, settled),
                }
            }
        }
    }

    /// Whether this delivery is still in hand.
    pub(crate) fn holds(&self, slot: usize, claim: u64) -> bool {
        self.slots.get(slot).and_then(|entry| entry.in_hand).is_some_and(|hand| hand.claim == claim)
    }

    fn release(&mut self, id: MemberId) {
        if let Some(member) = self.members.iter_mut().find(|member| member.id == id) {
            if member.in_hand == member.unsettled {
                member.bell.notify_one();
            }
            member.in_hand -= 1;
        }
    }

    /// After a burst the queue of slots gives its memory back with the slots.
    fn tidy(&mut self) {
        if self.slots.is_empty() {
            self.ready.shrink_to(Slots::KEPT);
        }
    }

    /// One message less of its key in hand.
    fn free_lane(&mut self, slot: usize) {
        let Some(lanes) = &mut self.lanes else { return };
        let Some(key) = self.slots.get(slot).and_then(|entry| entry.key()) else { return };
        if let Some(lane) = lanes.get_mut(key) {
            lane.count -= 1;
            if lane.count == 0 {
                lanes.remove(key);
            }
        }
    }

    /// Back from a member's hand: to the front of what it has of this key, or else to everybody.
    fn put_back_held(&mut self, slot: usize, id: MemberId, settled: &mut Settled) {
        settled.again = true;
        self.free_lane(slot);
        let held = self.lanes.as_mut().zip(self.slots.get(slot)).and_then(|(lanes, entry)| lanes.get_mut(entry.key()?));
        match held.zip(self.members.iter_mut().find(|member| member.id == id)) {
            Some((lane, member)) if lane.holder == id => {
                lane.count += 1;
                insert_in_order(&self.slots, &mut member.own, slot);
            }
            _ => self.put_back(slot),
        }
    }

    pub(super) fn put_back(&mut self, slot: usize) {
        insert_in_order(&self.slots, &mut self.ready, slot);
    }
}

fn insert_in_order(slots: &Slots, queue: &mut VecDeque<usize>, slot: usize) {
    let seq = slots.seq(slot);
    queue.insert(queue.partition_point(|other| slots.seq(*other) < seq), slot);
}
