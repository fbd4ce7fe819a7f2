//! How many messages to ask for, and how many are asked for: plain counting, no I/O.
//!
//! Two requests are outstanding when it goes fast, each as large as what was handled in the last 100 ms: so a fast handler
//! prefetches much, and a slow one nothing that another instance could have had.

use std::time::Duration;

use tokio::time::Instant;

/// The largest request: beyond it nothing is gained.
pub(super) const LARGEST: usize = 4_000;
/// How far ahead a request reaches.
const AHEAD: Duration = Duration::from_millis(100);
/// How long the server keeps a request. A close waits for it to end, since one that is abandoned takes messages with it.
pub(super) const EXPIRES: Duration = Duration::from_secs(1);
/// The server may be late with its word that a request ended; after this it is gone without one.
const GRACE: Duration = Duration::from_millis(500);
/// After a refusal, before the next try.
const PAUSE: Duration = Duration::from_millis(250);

/// The requests that are at the server.
pub(super) struct Pulls {
    asked: usize,
    /// When the last of them has ended for sure.
    until: Instant,
    not_before: Instant,
    pace: Pace,
}

/// How fast messages are handled.
struct Pace {
    since: Instant,
    handled: u64,
    ahead: usize,
}

impl Pulls {
    pub(super) fn new(now: Instant) -> Self {
        Self { asked: 0, until: now, not_before: now, pace: Pace { since: now, handled: 0, ahead: 0 } }
    }

    /// How many to ask for now, where there is room for `room`, `buffered` are here unseen, and `handled` were settled so
    /// far.
    pub(super) fn want(&mut self, room: usize, buffered: usize, handled: u64, now: Instant) -> Option<usize> {
        self.pace.update(handled, now);
        let target = room.max(2 * self.pace.ahead);
        let there = self.asked + buffered;
        let wanted = now >= self.not_before && 2 * there <= target && there < target;
        wanted.then(|| (target - there).min(LARGEST))
    }

    pub(super) fn asked_for(&mut self, count: usize, now: Instant) {
        self.asked += count;
        self.until = now + EXPIRES + GRACE;
    }

    pub(super) fn arrived(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    /// A request ended with so many messages missing, or with an unknown number.
    pub(super) fn ended(&mut self, missing: Option<usize>) {
        self.asked = missing.map_or(0, |missing| self.asked.saturating_sub(missing));
    }

    /// Whether requests ended without a word: their consumer may be gone.
    pub(super) fn fell_silent(&mut self, now: Instant) -> bool {
        let silent = self.asked > 0 && now >= self.until;
        if silent {
            self.asked = 0;
        }
        silent
    }

    /// The server refused one: not again at once.
    pub(super) fn refused(&mut self, now: Instant) {
        self.asked = 0;
        self.not_before = now + PAUSE;
    }

    /// The connection broke, and all requests with it.
    pub(super) fn lost(&mut self) {
        self.asked = 0;
    }

    /// Until when messages may come that were asked for; `None` when none are.
    pub(super) fn outstanding(&self, now: Instant) -> Option<Instant> {
        (self.asked > 0 && self.until > now).then_some(self.until)
    }

    /// When more may be asked for than now.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        if self.not_before > now { Some(self.not_before) } else { self.outstanding(now) }
    }
}

impl Pace {
    fn update(&mut self, handled: u64, now: Instant) {
        let passed = now.duration_since(self.since);
        if passed < AHEAD {
            return;
        }
        let ahead = u128::from(handled - self.handled) * AHEAD.as_micros() / passed.as_micros().max(1);
        self.ahead = usize::try_from(ahead).unwrap_or(LARGEST).min(LARGEST);
        (self.since, self.handled) = (now, handled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_slow_handler_prefetches_nothing() {
        let start = Instant::now();
        let mut pulls = Pulls::new(start);
        assert_eq!(pulls.want(1, 0, 0, start), Some(1));
        pulls.asked_for(1, start);
        assert_eq!(pulls.want(1, 0, 0, start), None);
        pulls.arrived();
        assert_eq!(pulls.want(0, 0, 0, start + ms(200)), None);
        assert_eq!(pulls.want(1, 0, 1, start + ms(2000)), Some(1));
    }

    #[test]
    fn a_fast_handler_has_two_requests_of_its_last_100_ms() {
        let start = Instant::now();
        let mut pulls = Pulls::new(start);
        let now = start + ms(100);
        assert_eq!(pulls.want(256, 0, 1_500, now), Some(3_000));
        pulls.asked_for(3_000, now);
        for _ in 0..1_499 {
            pulls.arrived();
        }
        assert_eq!(pulls.want(256, 0, 1_500, now), None);
        pulls.arrived();
        assert_eq!(pulls.want(256, 0, 1_500, now), Some(1_500));
        assert_eq!(pulls.want(256, 0, 1_000_000, now + ms(100)), Some(LARGEST));
    }

    #[test]
    fn what_ended_or_vanished_is_asked_for_again() {
        let start = Instant::now();
        let mut pulls = Pulls::new(start);
        pulls.asked_for(100, start);
        pulls.ended(Some(60));
        assert_eq!(pulls.want(100, 0, 0, start), Some(60));
        pulls.asked_for(60, start);
        assert!(!pulls.fell_silent(start));
        assert!(pulls.fell_silent(start + EXPIRES + GRACE));
        assert_eq!(pulls.want(100, 0, 0, start), Some(100));
        pulls.asked_for(60, start);
        pulls.refused(start);
        assert_eq!(pulls.want(100, 0, 0, start), None);
        assert_eq!(pulls.want(100, 0, 0, pulls.next(start).unwrap()), Some(100));
    }
}
