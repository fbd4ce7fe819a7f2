//! Lanes: what keeps the messages of one key apart in time.

use std::collections::VecDeque;

use tokio::time::Instant;

use super::{Hand, Item, SLOW, State, Ticket};

/// A key in hand.
#[derive(Debug)]
pub(super) struct Lane {
    /// Runs, is ready, waits for its next attempt, or is being buried.
    head: Ticket,
    /// Those behind it.
    pub(super) queue: VecDeque<Ticket>,
    /// Whether those behind it are parked: since its head failed, until nothing is behind it.
    pub(super) stuck: bool,
}

impl Hand {
    /// From now on messages of this one's key queue behind it.
    pub(super) fn enter_lane(&mut self, ticket: Ticket) {
        let Some(item) = self.items.get_mut(ticket).filter(|item| !item.laned && self.bounds.ordered) else { return };
        if let Some(key) = item.delivered.message.key() {
            item.laned = true;
            self.lanes.insert(key.clone(), Lane { head: ticket, queue: VecDeque::new(), stuck: false });
        }
    }

    /// The head of a lane is over: the next becomes ready.
    pub(super) fn advance_lane(&mut self, head: &Item) {
        let Some(key) = head.delivered.message.key() else { return };
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let Some(next) = lane.queue.pop_front() else {
            self.lanes.remove(key);
            return;
        };
        lane.head = next;
        lane.stuck &= !lane.queue.is_empty();
        if let Some(item) = self.items.get_mut(next) {
            item.state = State::Ready;
        }
        self.unpark(next);
        self.ready.push_back(next);
    }

    /// Parks what is behind this message, and what will come.
    pub(super) fn stick(&mut self, ticket: Ticket) {
        let Some(item) = self.items.get(ticket).filter(|item| item.laned) else { return };
        let Some(lane) = item.delivered.message.key().and_then(|key| self.lanes.get_mut(key)) else { return };
        if !lane.stuck {
            lane.stuck = true;
            // Indexed, since parking needs all of the hand.
            let behind: Vec<Ticket> = lane.queue.iter().copied().collect();
            behind.into_iter().for_each(|ticket| self.park(ticket));
        }
    }

    /// Looks for slow keys when there is no room: parks what is behind them. Answers when to look again.
    pub(in super::super) fn park_behind_slow(&mut self, now: Instant) -> Option<Instant> {
        if self.lanes.is_empty() || self.flight_room() > 0 {
            return None;
        }
        let mut again = None;
        let mut slow = Vec::new();
        for lane in self.lanes.values().filter(|lane| !lane.stuck && !lane.queue.is_empty()) {
            let Some(head) = self.items.get(lane.head).filter(|head| head.state == State::Running) else { continue };
            let due = head.started + SLOW;
            if due <= now {
                slow.push(lane.head);
            } else {
                again = Some(again.map_or(due, |again: Instant| again.min(due)));
            }
        }
        slow.into_iter().for_each(|head| self.stick(head));
        again
    }
}
