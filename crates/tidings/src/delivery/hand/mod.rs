//! What one subscription has in hand: a state machine without I/O, tasks or a clock of its own.
//!
//! A message is ready, runs, queues behind another of its key, waits for its next attempt, or is being buried (its dead letter
//! is on its way to the broker). There is one lane for each key in hand, exact, and a lane runs one message at a time; messages
//! without a key take any free slot. What waits behind a failing message is *parked* and takes no room from other keys.

mod item;
mod lane;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    time::Duration,
};

use item::State;
pub(super) use item::{Item, Moment};
use lane::Lane;
use slab::Slab;
use tidings_core::Key;
use tokio::time::Instant;

/// Names a message in hand.
pub(super) type Ticket = usize;

/// What bounds a hand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Messages that run or wait for a slot, and outcomes that are not stored yet.
    pub(super) in_flight: usize,
    /// Handlers that run.
    pub(super) concurrency: usize,
    /// Messages that wait for their next attempt, and those behind them.
    pub(super) parked: usize,
    /// The same in bytes.
    pub(super) parked_bytes: usize,
    /// Whether keys matter.
    pub(super) ordered: bool,
}

/// Everything in hand.
#[derive(Debug)]
pub(super) struct Hand {
    bounds: Bounds,
    items: Slab<Item>,
    /// The keys that the next message may meet.
    lanes: HashMap<Key, Lane>,
    ready: VecDeque<Ticket>,
    waiting: BinaryHeap<Reverse<(Instant, u64, Ticket)>>,
    running: usize,
    parked: usize,
    parked_bytes: usize,
    /// Outcomes on their way to the broker.
    unsettled: usize,
    /// Suspects in hand.
    suspects: usize,
    next_seq: u64,
}

impl Hand {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            items: Slab::new(),
            lanes: HashMap::new(),
            ready: VecDeque::new(),
            waiting: BinaryHeap::new(),
            running: 0,
            parked: 0,
            parked_bytes: 0,
            unsettled: 0,
            suspects: 0,
            next_seq: 0,
        }
    }

    /// How many more messages there is room for.
    pub(super) fn room(&self) -> usize {
        if self.is_blocked() {
            return 0;
        }
        // Whatever comes may have to be parked.
        self.flight_room().min(self.bounds.parked - self.parked)
    }

    fn flight_room(&self) -> usize {
        self.bounds.in_flight.saturating_sub(self.items.len() - self.parked + self.unsettled)
    }

    /// Whether nothing is fetched since too much waits behind failing messages.
    pub(super) fn is_blocked(&self) -> bool {
        self.parked >= self.bounds.parked || self.parked_bytes >= self.bounds.parked_bytes
    }

    /// The key behind which most waits.
    pub(super) fn longest_lane(&self) -> Option<&Key> {
        self.lanes.iter().max_by_key(|(_, lane)| lane.queue.len()).map(|(key, _)| key)
    }

    /// Messages in hand.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Item> {
        self.items.get(ticket)
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Item> {
        self.items.get_mut(ticket)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().map(|(_, item)| item)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.items.iter_mut().map(|(_, item)| item)
    }

    /// `count` outcomes were handed to the broker.
    pub(super) fn settling(&mut self, count: usize) {
        self.unsettled += count;
    }

    /// `count` outcomes are stored.
    pub(super) fn settled(&mut self, count: usize) {
        self.unsettled = self.unsettled.saturating_sub(count);
    }

    /// Takes a message in. It is answered when it may run at once, and runs then: [`Hand::keep`] it, or end it.
    ///
    /// A message that is over after its first poll never enters the lanes.
    pub(super) fn admit(&mut self, mut item: Item, may_start: bool) -> Option<Ticket> {
        item.seq = self.next_seq;
        self.next_seq += 1;
        self.suspects += usize::from(item.suspicion.is_suspect());
        let key = if self.bounds.ordered { item.delivered.message.key() } else { None };
        let lane = match key {
            Some(key) if !self.lanes.is_empty() => self.lanes.get_mut(key),
            _ => None,
        };
        if let Some(lane) = lane {
            (item.state, item.laned) = (State::Queued, true);
            let stuck = lane.stuck;
            let ticket = self.items.insert(item);
            lane.queue.push_back(ticket);
            if stuck {
                self.park(ticket);
            }
            return None;
        }
        let starts = may_start && !item.suspicion.is_suspect() && self.ready.is_empty() && self.running < self.bounds.concurrency;
        if starts {
            item.state = State::Running;
            self.running += 1;
            return Some(self.items.insert(item));
        }
        let ticket = self.items.insert(item);
        self.ready.push_back(ticket);
        self.enter_lane(ticket);
        None
    }

    /// The next message to run, when there is one and a slot; suspects are passed over by [`Hand::next_suspect`] alone.
    pub(super) fn next(&mut self) -> Option<Ticket> {
        if !self.can_start() {
            return None;
        }
        let ticket = self.ready.pop_front()?;
        self.run(ticket);
        Some(ticket)
    }

    /// Whether there is a next message and a slot.
    pub(super) fn can_start(&self) -> bool {
        !self.ready.is_empty() && self.running < self.bounds.concurrency && !self.suspects_ready()
    }

    /// Whether a suspect is ready: until it has run, nothing else begins.
    pub(super) fn suspects_ready(&self) -> bool {
        self.suspects > 0 && self.suspects().next().is_some()
    }

    /// Whether anything is ready.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Begins an attempt at a suspect, when nothing else runs. `draw` chooses which: were it always the first, those
    /// behind the one that kills the process would never run.
    pub(super) fn next_suspect(&mut self, draw: u64) -> Option<Ticket> {
        let suspects: Vec<_> = self.suspects().collect();
        let chosen = usize::try_from(draw % u64::try_from(suspects.len()).ok()?.max(1)).ok()?;
        let ticket = *suspects.get(chosen)?;
        if self.running > 0 {
            return None;
        }
        self.ready.retain(|other| *other != ticket);
        self.run(ticket);
        Some(ticket)
    }

    /// The suspects that are ready.
    pub(super) fn suspects(&self) -> impl Iterator<Item = Ticket> {
        let is_suspect = |ticket: &Ticket| self.items.get(*ticket).is_some_and(|item| item.suspicion.is_suspect());
        self.ready.iter().copied().filter(is_suspect)
    }

    fn run(&mut self, ticket: Ticket) {
        if let Some(item) = self.items.get_mut(ticket) {
            item.state = State::Running;
            self.running += 1;
        }
    }

    /// A message that runs goes on running: others of its key queue behind it.
    pub(super) fn keep(&mut self, ticket: Ticket) {
        self.enter_lane(ticket);
    }

    /// Its attempt failed: the next one begins at `due`.
    pub(super) fn wait(&mut self, ticket: Ticket, due: Instant) {
        let wait = self.next_seq;
        self.next_seq += 1;
        self.stop_running(ticket, State::Waiting(wait));
        if let Some(item) = self.items.get_mut(ticket) {
            item.due = Some(due);
        }
        self.waiting.push(Reverse((due, wait, ticket)));
    }

    /// It was given up, and its dead letter is on its way; its key waits until that is stored.
    pub(super) fn bury(&mut self, ticket: Ticket) {
        self.stop_running(ticket, State::Burying);
    }

    fn stop_running(&mut self, ticket: Ticket, state: State) {
        let Some(item) = self.items.get_mut(ticket) else { return };
        if item.state == State::Running {
            self.running -= 1;
        }
        item.state = state;
        item.abort = None;
        self.enter_lane(ticket);
        self.park(ticket);
        self.stick(ticket);
    }

    /// When the next message that waits is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.peek().map(|Reverse((due, ..))| *due)
    }

    /// Makes what is due ready.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some(Reverse((due, wait, ticket))) = self.waiting.peek().copied()
            && due <= now
        {
            self.waiting.pop();
            if let Some(item) = self.items.get_mut(ticket)
                && item.state == State::Waiting(wait)
            {
                (item.state, item.due) = (State::Ready, None);
                self.unpark(ticket);
                self.ready.push_back(ticket);
            }
        }
    }

    /// Takes a message out; the next of its key becomes ready.
    pub(super) fn end(&mut self, ticket: Ticket) -> Option<Item> {
        let item = self.items.try_remove(ticket)?;
        if item.state == State::Running {
            self.running -= 1;
        }
        self.suspects -= usize::from(item.suspicion.is_suspect());
        if let Some(bytes) = item.parked {
            self.parked -= 1;
            self.parked_bytes -= bytes;
        }
        if item.laned && item.state != State::Queued {
            self.advance_lane(&item);
        }
        if self.items.is_empty() {
            // What is left there is stale.
            self.waiting.clear();
        }
        Some(item)
    }

    /// Takes out, in the order of their arrival, those messages that neither run nor are being buried.
    pub(super) fn end_idle(&mut self, chosen: impl Fn(&Item) -> bool) -> Vec<Item> {
        let idle = |item: &Item| !matches!(item.state, State::Running | State::Burying);
        let leaves = |items: &Slab<Item>, ticket: &Ticket| items.get(*ticket).is_some_and(|item| idle(item) && chosen(item));
        let tickets: Vec<Ticket> =
            self.items.iter().filter(|(_, item)| idle(item) && chosen(item)).map(|(ticket, _)| ticket).collect();
        self.ready.retain(|ticket| !leaves(&self.items, ticket));
        for lane in self.lanes.values_mut() {
            lane.queue.retain(|ticket| !leaves(&self.items, ticket));
        }
        let mut ended: Vec<_> = tickets.into_iter().filter_map(|ticket| self.end(ticket)).collect();
        ended.sort_unstable_by_key(|item| item.seq);
        ended
    }

    /// Messages whose dead letters are on their way.
    pub(super) fn burying(&self) -> impl Iterator<Item = Ticket> {
        self.items.iter().filter(|(_, item)| item.state == State::Burying).map(|(ticket, _)| ticket)
    }

    fn park(&mut self, ticket: Ticket) {
        if let Some(item) = self.items.get_mut(ticket)
            && item.parked.is_none()
        {
            let bytes = item.delivered.message.size();
            item.parked = Some(bytes);
            self.parked += 1;
            self.parked_bytes += bytes;
        }
    }

    fn unpark(&mut self, ticket: Ticket) {
        if let Some(bytes) = self.items.get_mut(ticket).and_then(|item| item.parked.take()) {
            self.parked -= 1;
            self.parked_bytes -= bytes;
        }
    }
}

/// How long a message may run before those behind it count as parked, as if it had failed: a slow key stops no other.
const SLOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
