//! What a hand is to be like, written as plainly as can be: a list of messages in the order of their arrival.

use std::collections::BTreeSet;

use proptest::{prop_assert, prop_assert_eq};
use tokio::time::Instant;

use super::super::{Bounds, Hand, SLOW, State};
use crate::delivery::simulation::Checked;

/// A message in hand.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) number: u64,
    /// None where keys do not matter.
    pub(super) key: Option<u8>,
    pub(super) size: usize,
    pub(super) suspect: bool,
    pub(super) lost: bool,
    pub(super) doing: Doing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Doing {
    /// It may run when it is the first of its key; since when it is, as the number of a step.
    Idle(Option<usize>),
    /// Since then.
    Running(Instant),
    /// Until then.
    Waiting(Instant),
    Burying,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) bounds: Bounds,
    /// In the order of their arrival.
    pub(super) messages: Vec<Message>,
    /// Keys whose first message failed or is slow: what is behind it is parked.
    stuck: BTreeSet<u8>,
    /// Outcomes on their way to the broker.
    pub(super) unsettled: usize,
    /// The numbers of those that left.
    pub(super) left: BTreeSet<u64>,
    pub(super) step: usize,
}

impl Model {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, messages: Vec::new(), stuck: BTreeSet::new(), unsettled: 0, left: BTreeSet::new(), step: 0 }
    }

    fn place(&self, number: u64) -> Option<usize> {
        self.messages.iter().position(|message| message.number == number)
    }

    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Message> {
        self.messages.iter_mut().find(|message| message.number == number)
    }

    /// Whether one of its key came before it.
    fn is_behind(&self, place: usize) -> bool {
        let key = self.messages[place].key;
        key.is_some() && self.messages[..place].iter().any(|before| before.key == key)
    }

    fn is_parked(&self, place: usize) -> bool {
        let Message { key, doing, .. } = self.messages[place];
        matches!(doing, Doing::Waiting(_) | Doing::Burying)
            || self.is_behind(place) && key.is_some_and(|key| self.stuck.contains(&key))
    }

    fn is_ready(&self, place: usize) -> bool {
        matches!(self.messages[place].doing, Doing::Idle(_)) && !self.is_behind(place)
    }

    fn ready(&self) -> impl Iterator<Item = &Message> {
        (0..self.messages.len()).filter(|place| self.is_ready(*place)).map(|place| &self.messages[place])
    }

    pub(super) fn numbers(&self, wanted: impl Fn(&Message) -> bool) -> Vec<u64> {
        self.messages.iter().filter(|message| wanted(message)).map(|message| message.number).collect()
    }

    pub(super) fn running(&self) -> Vec<u64> {
        self.numbers(|message| matches!(message.doing, Doing::Running(_)))
    }

    pub(super) fn suspects_ready(&self) -> bool {
        self.ready().any(|message| message.suspect)
    }

    /// Whether something is to begin when it is asked for.
    pub(super) fn can_start(&self) -> bool {
        self.ready().next().is_some() && !self.suspects_ready() && self.running().len() < self.bounds.concurrency
    }

    fn parked(&self) -> (usize, usize) {
        let parked = (0..self.messages.len()).filter(|place| self.is_parked(*place));
        parked.fold((0, 0), |(count, bytes), place| (count + 1, bytes + self.messages[place].size))
    }

    fn is_blocked(&self) -> bool {
        let (count, bytes) = self.parked();
        count >= self.bounds.parked || bytes >= self.bounds.parked_bytes
    }

    fn flight_room(&self) -> usize {
        self.bounds.in_flight.saturating_sub(self.messages.len() - self.parked().0 + self.unsettled)
    }

    /// It arrived; answered is whether it is to run at once, when it may.
    pub(super) fn arrived(&mut self, message: Message) -> bool {
        let idle = self.ready().next().is_none() && self.running().len() < self.bounds.concurrency;
        let suspect = message.suspect;
        self.messages.push(message);
        idle && !suspect && !self.is_behind(self.messages.len() - 1)
    }

    /// It began: of those that are ready it has to be one of those that are so for the longest time.
    pub(super) fn began(&mut self, number: u64, now: Instant) -> Checked {
        let place = self.place(number).unwrap_or_default();
        prop_assert!(self.is_ready(place), "{number} begins and is not ready");
        let Doing::Idle(since) = self.messages[place].doing else { unreachable!() };
        if !self.messages[place].suspect {
            let overtaken = self.ready().find(|other| matches!(other.doing, Doing::Idle(before) if before < since));
            prop_assert!(overtaken.is_none(), "{number} overtakes {overtaken:?}");
        }
        self.messages[place].doing = Doing::Running(now);
        Ok(())
    }

    /// Its attempt failed, or it is being buried.
    pub(super) fn failed(&mut self, number: u64, doing: Doing) {
        if let Some(message) = self.get_mut(number) {
            message.doing = doing;
            let key = message.key;
            self.stuck.extend(key);
        }
    }

    /// These left, each for the first time.
    pub(super) fn leave(&mut self, numbers: &[u64]) -> Checked {
        let is_first = |place: usize| !self.is_behind(place);
        let firsts = numbers.iter().filter_map(|number| self.place(*number)).filter(|place| is_first(*place));
        let advanced: Vec<u8> = firsts.filter_map(|place| self.messages[place].key).collect();
        for number in numbers {
            prop_assert!(self.left.insert(*number), "{number} leaves twice");
        }
        self.messages.retain(|message| !numbers.contains(&message.number));
        for key in advanced {
            // Nothing is behind its first one any more.
            if self.messages.iter().filter(|message| message.key == Some(key)).count() <= 1 {
                self.stuck.remove(&key);
            }
        }
        Ok(())
    }

    pub(super) fn woke(&mut self, now: Instant) {
        for message in &mut self.messages {
            if matches!(message.doing, Doing::Waiting(due) if due <= now) {
                message.doing = Doing::Idle(None);
            }
        }
    }

    /// When there is no room, keys that run for long are stuck; answered is when to look for the next of them.
    pub(super) fn looked_for_slow(&mut self, now: Instant) -> Option<Instant> {
        if self.flight_room() > 0 {
            return None;
        }
        let mut again = None;
        for (place, message) in self.messages.iter().enumerate() {
            let (Some(key), Doing::Running(since)) = (message.key, message.doing) else { continue };
            let is_followed = self.messages[place + 1..].iter().any(|other| other.key == message.key);
            if !is_followed || self.stuck.contains(&key) {
                continue;
            }
            if since + SLOW <= now {
                self.stuck.insert(key);
            } else {
                again = Some(again.map_or(since + SLOW, |again: Instant| again.min(since + SLOW)));
            }
        }
        again
    }

    /// A step is over: whatever became ready during it stands behind what was so before.
    pub(super) fn stepped(&mut self) {
        self.step += 1;
        for place in 0..self.messages.len() {
            if self.is_ready(place) && self.messages[place].doing == Doing::Idle(None) {
                self.messages[place].doing = Doing::Idle(Some(self.step));
            }
        }
    }

    /// Whether `hand` is like this, and keeps its bounds.
    pub(super) fn check(&self, hand: &Hand, now: Instant) -> Checked {
        self.check_messages(hand)?;
        let (parked, parked_bytes) = self.parked();
        prop_assert_eq!((hand.parked, hand.parked_bytes), (parked, parked_bytes), "parked");
        prop_assert_eq!(hand.is_blocked(), self.is_blocked(), "blocked");
        let room = if self.is_blocked() { 0 } else { self.flight_room().min(self.bounds.parked - parked) };
        prop_assert_eq!(hand.room(), room, "room");
        let most = self.bounds.in_flight + self.bounds.parked;
        prop_assert!(hand.len() + self.unsettled <= most, "more than the broker was told: {}", hand.len() + self.unsettled);
        prop_assert_eq!(hand.running(), self.running().len(), "running");
        prop_assert!(hand.running() <= self.bounds.concurrency, "{} run", hand.running());
        prop_assert_eq!(hand.has_ready(), self.ready().next().is_some(), "something ready");
        prop_assert_eq!(hand.suspects_ready(), self.suspects_ready(), "suspects ready");
        prop_assert_eq!(hand.can_start(), self.can_start(), "something may begin");
        self.check_times(hand, now)?;
        self.check_longest(hand)
    }

    fn check_messages(&self, hand: &Hand) -> Checked {
        prop_assert_eq!(hand.len(), self.messages.len(), "in hand");
        for item in hand.iter() {
            let number = item.receipt.0[0];
            let place = self.place(number);
            prop_assert!(place.is_some(), "{number} is in hand and should not be");
            let place = place.unwrap_or_default();
            let message = &self.messages[place];
            let alike = match message.doing {
                Doing::Idle(_) if self.is_behind(place) => item.state == State::Queued,
                Doing::Idle(_) => item.state == State::Ready,
                Doing::Running(_) => item.state == State::Running,
                Doing::Waiting(due) => matches!(item.state, State::Waiting(_)) && item.due == Some(due),
                Doing::Burying => item.state == State::Burying,
            };
            prop_assert!(alike, "{message:?} is {:?}", item.state);
            // Of one key, only the first does anything.
            prop_assert!(matches!(message.doing, Doing::Idle(_)) || !self.is_behind(place), "{message:?} overtakes its key");
        }
        Ok(())
    }

    /// What waits is woken in time, and nothing that is due is left asleep.
    fn check_times(&self, hand: &Hand, now: Instant) -> Checked {
        let due = |message: &Message| if let Doing::Waiting(due) = message.doing { Some(due) } else { None };
        if let Some(first) = self.messages.iter().filter_map(due).min() {
            prop_assert!(hand.next_due().is_some_and(|due| due <= first), "nobody wakes what is due at {first:?}");
        }
        prop_assert!(hand.next_due().is_none_or(|due| due > now), "due in the past");
        Ok(())
    }

    fn check_longest(&self, hand: &Hand) -> Checked {
        let count = |key: u8| self.messages.iter().filter(|message| message.key == Some(key)).count();
        let most = self.messages.iter().filter_map(|message| message.key).map(count).max();
        let longest = hand.longest_lane().and_then(|key| key.as_str().parse().ok());
        prop_assert_eq!(longest.map(count), most, "the longest lane");
        Ok(())
    }
}
