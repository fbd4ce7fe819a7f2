//! Retry decisions for any policy that a registration may have: waits grow and stay within their longest, limits are kept exactly, and
//! what is computed of a policy beforehand covers what it does.

use proptest::{
    prop_assert, prop_assert_eq, prop_oneof, proptest,
    strategy::{Just, Strategy},
};

use super::*;
use crate::delivery::simulation::config;

const MS: Duration = Duration::from_millis(1);
/// What limits by age may be, and more.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
const LONGER: Duration = Duration::from_secs(400 * 24 * 3600);

fn time(most: Duration) -> impl Strategy<Value = Duration> {
    let most = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
    // As many short ones as long ones.
    (0..=most.ilog2(), 1..=most).prop_map(|(less, millis)| Duration::from_millis((millis >> less).max(1)))
}

/// Any that is no mistake.
fn policy() -> impl Strategy<Value = Retry> {
    let attempts = prop_oneof![1..12_u32, 1..=10_000_u32].prop_map(Limit::Attempts);
    let limit = prop_oneof![attempts, time(YEAR).prop_map(Limit::Age)];
    let factor = prop_oneof![4 => 1..5_u32, 1 => 1..=u32::MAX];
    (time(Retry::LONGEST), time(Retry::LONGEST), factor, limit).prop_map(|(one, other, factor, limit)| {
        let retry = Retry { first: one.min(other), longest: one.max(other), factor, limit };
        assert_eq!(retry.mistake(), None);
        retry
    })
}

fn verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![5 => Just(Verdict::Retry), 1 => Just(Verdict::Reject), 2 => time(YEAR).prop_map(Verdict::RetryAfter)]
}

fn draw() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 0..=u64::MAX]
}

/// The full waits as the documentation has them, one by one.
fn full_waits(retry: Retry) -> impl Iterator<Item = Duration> {
    let grown = move |wait: &Duration| Some(wait.saturating_mul(retry.factor).min(retry.longest));
    std::iter::successors(Some(retry.first.min(retry.longest)), grown)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_wait_is_within_its_bounds_and_a_limit_kept_exactly(
        retry in policy(), verdict in verdict(), attempts in 1..=10_001_u32, fewer in 0..14_u32, age in time(LONGER), draw in draw(), at_limit in 0..4_u8
    ) {
        let (attempts, age) = match retry.limit {
            Limit::Attempts(most) if at_limit == 0 => (most, age),
            Limit::Age(most) if at_limit == 0 => (1, most),
            _ => ((attempts >> fewer).max(1), age),
        };
        let is_over = match retry.limit {
            Limit::Attempts(most) => attempts >= most,
            Limit::Age(most) => age >= most,
        };
        let next = next(&retry, verdict, attempts, age, draw);
        prop_assert_eq!(next == Next::GiveUp, is_over || verdict == Verdict::Reject);
        if let Next::Again(wait) = next {
            let asked = if let Verdict::RetryAfter(asked) = verdict { asked.min(Retry::LONGEST) } else { Duration::ZERO };
            let full = full_waits(retry).nth(attempts as usize - 1).unwrap();
            prop_assert!(wait >= asked && wait <= full.max(asked), "{wait:?} is not within {asked:?} and {full:?}");
            if let Limit::Age(most) = retry.limit {
                prop_assert!(age + wait <= most.max(age + asked), "{wait:?} ends after the time is up");
            }
        }
    }

    #[test]
    fn full_waits_grow_by_the_factor_up_to_the_longest_and_a_draw_takes_its_share(retry in policy(), draw in draw()) {
        let retry = Retry { limit: Limit::Attempts(u32::MAX), ..retry };
        for (attempts, full) in (1..100).zip(full_waits(retry)) {
            prop_assert_eq!(full_wait(&retry, attempts), full);
            let drawn = |draw| if let Next::Again(wait) = next(&retry, Verdict::Retry, attempts, Duration::ZERO, draw) { wait } else { Duration::MAX };
            prop_assert_eq!(drawn(0), Duration::ZERO);
            prop_assert!(full - drawn(u64::MAX) <= MS, "{full:?}");
            let share = full.mul_f64(draw as f64 / u64::MAX as f64);
            prop_assert!(drawn(draw).abs_diff(share) <= MS, "{:?} is not {share:?}", drawn(draw));
        }
    }

    #[test]
    fn the_life_of_a_message_that_always_fails_is_as_long_as_was_said(
        retry in policy(), takes in time(Duration::from_secs(60)), draws in proptest::collection::vec(draw(), 1..20)
    ) {
        // Drawn again and again; by time, a policy of a year with waits of a millisecond is cut short.
        let mut draws = draws.iter().cycle();
        let (mut age, mut waited, mut attempts) = (Duration::ZERO, Duration::ZERO, 0_u32);
        let over = loop {
            age += takes;
            attempts += 1;
            match next(&retry, Verdict::Retry, attempts, age, *draws.next().unwrap()) {
                Next::Again(wait) => (waited, age) = (waited + wait, age + wait),
                Next::GiveUp => break true,
            }
            if attempts > 10_000 {
                break false;
            }
        };
        prop_assert!(waited <= total_wait(&retry), "waited {waited:?} of {:?}", total_wait(&retry));
        match retry.limit {
            Limit::Attempts(most) => prop_assert_eq!((over, attempts), (true, most)),
            // The last attempt begins when the time is up at the latest.
            Limit::Age(most) => prop_assert!(!over || (age >= most && age - takes <= most), "{age:?} of {most:?}"),
        }
    }

    #[test]
    fn what_waits_can_add_up_to_is_their_sum(retry in policy(), most in prop_oneof![1..8_u32, 1..2_000_u32]) {
        let retry = Retry { limit: Limit::Attempts(most), ..retry };
        let sum = full_waits(retry).take(most as usize - 1).fold(Duration::ZERO, Duration::saturating_add);
        prop_assert_eq!(total_wait(&retry), sum);
    }

    #[test]
    fn deliveries_are_explained_as_far_as_full_waits_go_and_suspicion_only_grows(retry in policy()) {
        let explained = explained(&retry);
        let needed = match retry.limit {
            Limit::Attempts(most) => most,
            // One attempt at once, and one after each wait: as many as fit into the time, and the one at its end.
            Limit::Age(most) => {
                let ends = full_waits(retry).scan(Duration::ZERO, |end, wait| { *end += wait; Some(*end) });
                1 + u32::try_from(ends.take(10_000).take_while(|end| *end < most).count()).unwrap()
            }
        };
        prop_assert!(explained >= needed, "{explained} are explained, {needed} needed");
        let of = |more: u32| suspicion(&retry, explained.saturating_add(UNEXPLAINED).saturating_add(more));
        prop_assert_eq!(of(0), Suspicion::None);
        if explained < u32::MAX - 2 * UNEXPLAINED {
            prop_assert_eq!([of(1), of(2), of(UNEXPLAINED), of(UNEXPLAINED + 1), of(u32::MAX)],
                [Suspicion::Suspect, Suspicion::Again, Suspicion::Again, Suspicion::Condemned, Suspicion::Condemned]);
        }
    }
}
