//! The time by which attempts wait, end and are counted; a test can move it.
//!
//! Not tokio's paused time: that jumps whenever the runtime is idle, which it is while a database works in a thread of its own. What
//! is not a handler's (leases, back-off after trouble with a broker, the drain of settlements) goes by the machine's clock.

use std::{
    collections::HashMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// The machine's clock, or one that is ahead of it by what a test says. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Movable>>);

#[derive(Debug)]
struct Movable {
    ahead: watch::Sender<Duration>,
    /// When it was moved, by the machine's clock, and how far ahead it was then.
    moved: Mutex<Vec<(SystemTime, Duration)>>,
    /// What each subscription waits for.
    loops: Mutex<HashMap<usize, Waits>>,
}

/// What a subscription waits for.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// A handler runs, or is about to.
    busy: bool,
    /// The next attempt.
    due: Option<Instant>,
}

/// A subscription's place at the clock.
#[derive(Debug)]
pub(super) struct Seat {
    clock: Clock,
    number: usize,
    moves: Option<watch::Receiver<Duration>>,
}

impl Clock {
    /// One that [`Clock::advance`] moves.
    #[must_use]
    pub fn movable() -> Self {
        Self(Some(Arc::new(Movable {
            ahead: watch::Sender::new(Duration::ZERO),
            moved: Mutex::default(),
            loops: Mutex::default(),
        })))
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    /// Moves it forward.
    pub fn advance(&self, time: Duration) {
        if let Some(movable) = &self.0 {
            movable.ahead.send_modify(|ahead| {
                *ahead += time;
                movable.moved.lock().unwrap_or_else(PoisonError::into_inner).push((SystemTime::now(), *ahead));
            });
        }
    }

    /// When it is here what somebody who looked at the machine's clock, and said so at `said`, calls `at`: moves that came after that
    /// count, those before do not.
    #[must_use]
    pub fn instant_of(&self, at: SystemTime, said: SystemTime) -> Instant {
        let now = Instant::now();
        let on_machine = match at.duration_since(SystemTime::now()) {
            Ok(wait) => now + wait,
            Err(past) => now.checked_sub(past.duration()).unwrap_or(now),
        };
        on_machine + self.ahead_at(said)
    }

    fn ahead_at(&self, time: SystemTime) -> Duration {
        let Some(movable) = &self.0 else { return Duration::ZERO };
        let moved = movable.moved.lock().unwrap_or_else(PoisonError::into_inner);
        moved.iter().rev().find(|(when, _)| *when <= time).map_or(Duration::ZERO, |(_, ahead)| *ahead)
    }

    /// Moves it to the next attempt, when no handler runs and one is waited for; answers whether it did.
    pub fn skip_to_next_attempt(&self) -> bool {
        let Some(movable) = &self.0 else { return false };
        let due = {
            let loops = movable.loops();
            if loops.values().any(|waits| waits.busy) {
                return false;
            }
            loops.values().filter_map(|waits| waits.due).min()
        };
        let wait = due.map(|due| due.saturating_duration_since(self.now())).filter(|wait| !wait.is_zero());
        wait.inspect(|wait| self.advance(*wait)).is_some()
    }

    fn ahead(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |movable| *movable.ahead.borrow())
    }

    /// The machine's time at which it is `at` here, should nobody move it.
    pub(super) fn on_machine(&self, at: Instant) -> Instant {
        at.checked_sub(self.ahead()).unwrap_or(at)
    }

    /// Waits until it is `at`.
    pub async fn until(self, at: Instant) {
        match &self.0 {
            None => sleep_until(at).await,
            Some(movable) => {
                let mut moves = movable.ahead.subscribe();
                while self.now() < at {
                    tokio::select! {
                        () = sleep_until(self.on_machine(at)) => {}
                        _ = moves.changed() => {}
                    }
                }
            }
        }
    }

    /// A place for a subscription.
    pub(super) fn seat(&self) -> Seat {
        let Some(movable) = &self.0 else { return Seat { clock: self.clone(), number: 0, moves: None } };
        let mut loops = movable.loops();
        let number = loops.len();
        loops.insert(number, Waits { busy: false, due: None });
        Seat { clock: self.clone(), number, moves: Some(movable.ahead.subscribe()) }
    }
}

impl Movable {
    fn loops(&self) -> MutexGuard<'_, HashMap<usize, Waits>> {
        self.loops.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whether somebody may move the clock.
    pub(super) fn is_movable(&self) -> bool {
        self.moves.is_some()
    }

    /// Says what the subscription waits for.
    pub(super) fn say(&self, busy: bool, due: Option<Instant>) {
        if let Some(movable) = &self.clock.0 {
            movable.loops().insert(self.number, Waits { busy, due });
        }
    }

    /// Waits until the clock is moved.
    pub(super) async fn moved(&mut self) {
        match &mut self.moves {
            // Its other end is in the clock.
            Some(moves) => drop(moves.changed().await),
            None => pending().await,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        // The numbers of others stay as they are.
        self.say(false, None);
    }
}
