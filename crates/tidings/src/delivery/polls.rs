//! Whether a handler computes before it first waits: then its attempts begin as tasks, beside each other.

use std::time::Duration;

/// How long a handler's first polls take.
///
/// A mean of the last few, since a single long one says nothing: the machine may have had something else to do in the middle
/// of it.
#[derive(Debug, Default)]
pub(super) struct Polls {
    /// In nanoseconds.
    mean: u64,
    long: bool,
}

impl Polls {
    const LONG: u64 = 1_000_000;
    /// What one counts for at most, so that it takes two.
    const MOST: u64 = 3_000_000;

    /// Takes one into account.
    pub(super) fn took(&mut self, poll: Duration) {
        let poll = u64::try_from(poll.as_nanos()).unwrap_or(u64::MAX);
        self.mean = (self.mean * 3 + poll.min(Self::MOST)) / 4;
        if self.mean > Self::LONG {
            self.long = true;
        } else if self.mean < Self::LONG / 2 {
            self.long = false;
        }
    }

    pub(super) fn are_long(&self) -> bool {
        self.long
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(1);

    fn after(polls: impl IntoIterator<Item = Duration>) -> Polls {
        let mut all = Polls::default();
        polls.into_iter().for_each(|poll| all.took(poll));
        all
    }

    #[test]
    fn polls_that_take_over_a_millisecond_are_long() {
        assert!(after([Duration::from_millis(2); 4]).are_long());
        assert!(after([Duration::from_micros(1100); 10]).are_long());
        assert!(!after([Duration::from_micros(900); 1000]).are_long());
    }

    #[test]
    fn a_single_one_among_short_ones_is_an_accident() {
        let hour = Duration::from_secs(3600);
        assert!(!after([SHORT, hour, SHORT, SHORT, SHORT, SHORT, hour, SHORT]).are_long());
    }

    #[test]
    fn they_are_long_until_they_are_short() {
        let mut polls = after([Duration::from_millis(2); 10]);
        polls.took(SHORT);
        assert!(polls.are_long());
        (0..10).for_each(|_| polls.took(SHORT));
        assert!(!polls.are_long());
    }
}
