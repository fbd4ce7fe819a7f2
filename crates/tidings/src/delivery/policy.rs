//! Whether and when a failed attempt is repeated: plain arithmetic over a [`Retry`].

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use crate::handlers::{Limit, Retry, Verdict};

/// Waits of an ordered subscription may add up to this, since each holds up its key.
pub(super) const LONGEST_ORDERED: Duration = Duration::from_secs(60);

/// Deliveries beyond those that a policy explains, before a message without an outcome is a suspect.
const UNEXPLAINED: u32 = 20;

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one, after this wait.
    Again(Duration),
    /// The dead letters.
    GiveUp,
}

/// Decides after the `attempts`th failure of a message that is `age` old. `draw` is a random number.
pub(super) fn next(retry: &Retry, verdict: Verdict, attempts: u32, age: Duration, draw: u64) -> Next {
    let least = match verdict {
        Verdict::Reject => return Next::GiveUp,
        Verdict::Retry => Duration::ZERO,
        // It may be what some server asks for.
        Verdict::RetryAfter(wait) => wait.min(Retry::LONGEST),
    };
    let wait = jittered(full_wait(retry, attempts), draw).max(least);
    match retry.limit {
        Limit::Attempts(most) if attempts >= most => Next::GiveUp,
        Limit::Attempts(_) => Next::Again(wait),
        Limit::Age(most) if age >= most => Next::GiveUp,
        // The last attempt is made when the time is up, rather than given away with the rest of it.
        Limit::Age(most) => Next::Again(wait.min(most - age).max(least)),
    }
}

/// The longest wait that may follow the `attempts`th failure.
fn full_wait(retry: &Retry, attempts: u32) -> Duration {
    let steps = attempts.saturating_sub(1);
    let grown = retry.factor.checked_pow(steps).and_then(|factor| retry.first.checked_mul(factor));
    grown.unwrap_or(retry.longest).min(retry.longest)
}

/// A wait between nothing and `full` ("full jitter"): those that failed together do not come again together.
fn jittered(full: Duration, draw: u64) -> Duration {
    let nanos = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
    // The high half of the product is `nanos` × `draw` / 2^64, below `nanos`.
    let part = (u128::from(nanos) * u128::from(draw)) >> 64;
    Duration::from_nanos(u64::try_from(part).unwrap_or(nanos))
}

/// What the waits of a policy can add up to.
pub(super) fn total_wait(retry: &Retry) -> Duration {
    match retry.limit {
        Limit::Age(most) => most,
        Limit::Attempts(most) => {
            let mut total = Duration::ZERO;
            for attempts in 1..most {
                let wait = full_wait(retry, attempts);
                if retry.grows_no_more(wait) {
                    // All that follow are as long.
                    return total.saturating_add(wait.saturating_mul(most - attempts));
                }
                total += wait;
            }
            total
        }
    }
}

/// What an engine's delivery count says of a message that comes once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Its deliveries are explained.
    None,
    /// It has come without an outcome too often and probably kills the process: it is to run with nothing beside it.
    Suspect,
    /// It did so before.
    Again,
    /// It did so so often that no other message can have been the reason.
    Condemned,
}

impl Suspicion {
    /// Whether it is to run alone.
    pub(super) fn is_suspect(self) -> bool {
        matches!(self, Self::Suspect | Self::Again)
    }
}

/// Looks at the `deliveries`th delivery of a message.
pub(super) fn suspicion(retry: &Retry, deliveries: u32) -> Suspicion {
    let unexplained = deliveries.saturating_sub(explained(retry));
    match unexplained.saturating_sub(UNEXPLAINED) {
        0 => Suspicion::None,
        1 => Suspicion::Suspect,
        again if again <= UNEXPLAINED => Suspicion::Again,
        _ => Suspicion::Condemned,
    }
}

/// The deliveries that a policy may cause.
fn explained(retry: &Retry) -> u32 {
    match retry.limit {
        Limit::Attempts(most) => most,
        Limit::Age(most) => {
            let (mut attempts, mut total) = (1, Duration::ZERO);
            loop {
                let wait = full_wait(retry, attempts);
                if retry.grows_no_more(wait) || total > most {
                    let rest = most.saturating_sub(total).as_nanos().checked_div(wait.as_nanos()).unwrap_or(u128::MAX);
                    // Twice, for jitter halves the waits.
                    return u32::try_from(rest).unwrap_or(u32::MAX).saturating_add(attempts).saturating_mul(2);
                }
                total += wait;
                attempts += 1;
            }
        }
    }
}

/// Random numbers for waits: cheap, seeded anew in each process, no secret.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(()))
    }

    /// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    const FULL: u64 = u64::MAX;

    fn waits(retry: &Retry, draw: u64) -> Vec<Duration> {
        let mut waits = Vec::new();
        while let Next::Again(wait) = next(retry, Verdict::Retry, u32::try_from(waits.len()).unwrap() + 1, Duration::ZERO, draw) {
            waits.push(wait);
        }
        waits
    }

    #[test]
    fn the_default_is_five_attempts_whose_waits_grow_threefold() {
        let full = waits(&Retry::default(), FULL);
        // Drawn just below its full length each.
        assert_eq!(full.iter().map(|wait| wait.as_millis() + 1).collect::<Vec<_>>(), [100, 300, 900, 2700]);
        assert_eq!(total_wait(&Retry::default()), 4000 * MS);
    }

    #[test]
    fn a_wait_is_drawn_between_nothing_and_its_full_length() {
        assert_eq!(waits(&Retry::default(), 0), [Duration::ZERO; 4]);
        let mut dice = Dice::new();
        let drawn: Vec<_> = (0..1000).map(|_| jittered(SECOND, dice.draw())).collect();
        assert!(drawn.iter().all(|wait| *wait < SECOND));
        let mean = drawn.iter().sum::<Duration>() / 1000;
        assert!((400 * MS..600 * MS).contains(&mean), "{mean:?}");
    }

    #[test]
    fn no_wait_is_longer_than_the_longest_however_many_attempts() {
        let retry = Retry::exponential(MS, SECOND).attempts(u32::MAX);
        assert_eq!(next(&retry, Verdict::Retry, 1_000_000, Duration::ZERO, FULL), Next::Again(SECOND - Duration::from_nanos(1)));
        assert!(total_wait(&retry) > Duration::from_secs(1 << 31));
        assert_eq!(total_wait(&Retry::never()), Duration::ZERO);
    }

    #[test]
    fn waits_that_do_not_grow_are_counted_at_once() {
        let retry = Retry::exponential(Duration::from_millis(1), Duration::from_secs(30)).factor(1);
        assert_eq!(explained(&retry.for_at_most(Duration::from_secs(365 * 24 * 3600))), u32::MAX);
        assert_eq!(total_wait(&retry.attempts(10_000)), Duration::from_millis(9_999));
    }

    #[test]
    fn a_rejection_is_final_and_a_named_wait_is_kept_to() {
        let retry = Retry::default();
        assert_eq!(next(&retry, Verdict::Reject, 1, Duration::ZERO, 0), Next::GiveUp);
        assert_eq!(next(&retry, Verdict::RetryAfter(9 * SECOND), 1, Duration::ZERO, 0), Next::Again(9 * SECOND));
        assert_eq!(next(&retry, Verdict::RetryAfter(9 * SECOND), 5, Duration::ZERO, 0), Next::GiveUp);
    }

    #[test]
    fn a_policy_by_time_ends_by_the_messages_age_with_a_last_attempt_at_its_end() {
        let retry = Retry::exponential(SECOND, 900 * SECOND).for_at_most(60 * SECOND);
        let after = |attempts, age| next(&retry, Verdict::Retry, attempts, age, FULL);
        assert!(matches!(after(100, Duration::ZERO), Next::Again(_)));
        assert_eq!(after(10, 50 * SECOND), Next::Again(10 * SECOND));
        assert_eq!(after(1, 60 * SECOND), Next::GiveUp);
    }

    #[test]
    fn twenty_deliveries_more_than_explained_make_a_suspect() {
        let retry = Retry::default();
        let of = |deliveries| suspicion(&retry, deliveries);
        assert_eq!(
            [of(1), of(25), of(26), of(27), of(45), of(46)],
            [Suspicion::None, Suspicion::None, Suspicion::Suspect, Suspicion::Again, Suspicion::Again, Suspicion::Condemned]
        );
        // 1 + 2 + 4 + 8 s, then 10 s each: about nine waits in a minute, and twice that for jitter.
        let by_time = Retry::exponential(SECOND, 10 * SECOND).for_at_most(60 * SECOND);
        assert_eq!(suspicion(&by_time, 18 + UNEXPLAINED), Suspicion::None);
        assert_eq!(suspicion(&by_time, 19 + UNEXPLAINED), Suspicion::Suspect);
        assert_eq!(suspicion(&Retry { first: Duration::ZERO, longest: Duration::ZERO, ..by_time }, u32::MAX), Suspicion::None);
    }
}
