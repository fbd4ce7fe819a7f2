//! The broker that all its openings share: subscriptions, and what goes to whom, under one short lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use slab::Slab;
use tidings_core::{GroupName, Members, Message, Source, Subscription, TopicPattern};
use tokio::{sync::Notify, time::Instant};

use crate::{
    Settings,
    later::Later,
    letters::Letters,
    queue::{MemberId, Others, Queue, Taken, Until},
    recent::Recent,
    routes::Routes,
};

#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    state: Mutex<State>,
    /// Rung when somebody who waits to publish may try again.
    pub(crate) room: Notify,
    /// Where messages are from that arrive as their bodies alone, when they do.
    pub(crate) bare: Option<Source>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) lines: Slab<Line>,
    pub(crate) routes: Routes,
    pub(crate) recent: Recent,
    pub(crate) letters: Letters,
    pub(crate) later: Later,
    /// Messages that were published before.
    pub(crate) duplicates: u64,
    /// Somebody waits for room.
    pub(crate) crowded: bool,
    claims: u64,
    numbers: u64,
}

/// A subscription: its queue and how to wake its members.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) group: GroupName,
    pub(crate) pattern: TopicPattern,
    members: Members,
    pub(crate) queue: Queue,
    bell: Arc<Notify>,
    /// A wake-up for what is ready is under way.
    announced: bool,
}

/// A member's place: which subscription, and who in it.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) line: usize,
    pub(crate) member: MemberId,
    /// Rung when there is news for any member of the subscription.
    pub(crate) news: Arc<Notify>,
    /// Rung when there is room in what this member may hold.
    pub(crate) room: Arc<Notify>,
}

impl Hub {
    pub(crate) fn new(settings: Settings) -> Self {
        let bare = settings.bare.then(|| Source::new("/memory").ok()).flatten();
        Self { settings, state: Mutex::default(), room: Notify::new(), bare }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock runs foreign code that could panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn letters(&self) -> Vec<Message> {
        self.lock().letters.iter().cloned().collect()
    }

    pub(crate) fn join(&self, subscription: &Subscription) -> Seat {
        let mut state = self.lock();
        // What was due before is not for who begins now.
        state.release();
        let there = (subscription.members == Members::Share)
            .then(|| state.lines.iter().find(|(_, line)| line.is_shared_by(subscription)).map(|(place, _)| place))
            .flatten();
        let place = there.unwrap_or_else(|| {
            state.routes.clear();
            state.lines.insert(Line::new(subscription))
        });
        state.numbers += 1;
        let member = MemberId(state.numbers);
        let line = &mut state.lines[place];
        let seat = Seat { line: place, member, news: Arc::clone(&line.bell), room: Arc::default() };
        line.queue.join(member, subscription.unsettled.max(1), Arc::clone(&seat.room));
        seat
    }

    /// Ends a member; safe to repeat.
    pub(crate) fn leave(&self, seat: &Seat) {
        let mut state = self.lock();
        let Some(line) = state.lines.get_mut(seat.line).filter(|line| Arc::ptr_eq(&line.bell, &seat.news)) else { return };
        line.queue.leave(seat.member);
        line.bell.notify_waiters();
        seat.room.notify_one();
        if line.members == Members::Each {
            state.lines.remove(seat.line);
            state.routes.clear();
            // Whoever waited for room in it need not.
            self.room.notify_waiters();
        } else if !line.queue.has_members() {
            // Whoever waited for room may wait in vain from now on: they are to know.
            self.room.notify_waiters();
        }
    }

    pub(crate) fn take(&self, seat: &Seat, max: usize) -> Option<Taken> {
        let mut state = self.lock();
        state.release();
        let State { lines, claims, later, .. } = &mut *state;
        let line = lines.get_mut(seat.line)?;
        let mut taken = line.queue.take(seat.line, seat.member, max, claims, Instant::now)?;
        line.announced = false;
        match taken.others {
            Others::Nothing => {}
            Others::Any => line.announce(),
            Others::Holder => line.bell.notify_waiters(),
        }
        if let Until::News(due) = &mut taken.until {
            *due = due.iter().copied().chain(later.next()).min();
        }
        Some(taken)
    }
}

impl Line {
    fn new(subscription: &Subscription) -> Self {
        Self {
            group: subscription.group.clone(),
            pattern: subscription.pattern.clone(),
            members: subscription.members,
            queue: Queue::default(),
            bell: Arc::default(),
            announced: false,
        }
    }

    fn is_shared_by(&self, subscription: &Subscription) -> bool {
        self.members == Members::Share && self.group == subscription.group && self.pattern == subscription.pattern
    }

    /// Wakes one member, unless one is about to look.
    pub(crate) fn announce(&mut self) {
        if !self.announced {
            self.announced = true;
            self.bell.notify_one();
        }
    }

    /// Lets every member look again.
    pub(crate) fn announce_to_all(&self) {
        self.bell.notify_waiters();
    }
}
