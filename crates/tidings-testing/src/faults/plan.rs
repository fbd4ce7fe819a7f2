//! What is injected, and how often.

use std::time::Duration;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// A delivery came twice.
    Duplicate,
    /// A delivery was held back for a while, and later ones of its key with it.
    Delay,
    /// A delivery was passed by the next one of another key.
    Reorder,
    /// A settlement did not reach the engine: the message came again.
    LostSettlement,
    /// A publish failed, and the message was not taken.
    FailedPublish,
    /// A publish failed, although the message was taken.
    LostAcknowledgement,
    /// What was in hand of a key was said to be leaving.
    Leaving,
    /// What was in hand of a key was lost, and came again.
    Lost,
}

/// How often a fault hits: a probability (`0.1`: each time with that chance, but no message more than three times, so that it gets
/// through in the end), or a count (`2`: each message, the first two times).
#[derive(Debug, Clone, Copy, Default)]
pub struct Rate(How);

#[derive(Debug, Clone, Copy, Default)]
enum How {
    #[default]
    Never,
    Chance(f64),
    First(u32),
}

impl From<f64> for Rate {
    fn from(chance: f64) -> Self {
        Self(How::Chance(chance))
    }
}

impl From<u32> for Rate {
    fn from(times: u32) -> Self {
        Self(How::First(times))
    }
}

impl Rate {
    /// The most hits of one message by chance.
    const MOST: u32 = 3;

    pub(super) fn is_never(self) -> bool {
        matches!(self.0, How::Never)
    }

    /// Whether a message that was hit so often before is hit once more; `draw` is a random number.
    pub(super) fn hits(self, before: u32, draw: u64) -> bool {
        match self.0 {
            How::Never => false,
            How::Chance(chance) => before < Self::MOST && fraction(draw) < chance,
            How::First(times) => before < times,
        }
    }
}

/// A random number as one from 0 to 1, without 1.
pub(super) fn fraction(draw: u64) -> f64 {
    const STEP: f64 = 1.0 / (1u64 << 53) as f64;
    (draw >> 11) as f64 * STEP
}

/// What is injected.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    pub(super) duplicates: Rate,
    pub(super) delays: Rate,
    /// The longest delay.
    pub(super) longest: Duration,
    pub(super) reorders: Rate,
    pub(super) lost_settlements: Rate,
    pub(super) failed_publishes: Rate,
    pub(super) lost_acknowledgements: Rate,
    pub(super) leaving: Rate,
    pub(super) lost: Rate,
    /// Delays and reorders look at no key.
    pub(super) within_keys: bool,
}

impl Plan {
    pub(super) fn rate(&self, fault: Fault) -> Rate {
        match fault {
            Fault::Duplicate => self.duplicates,
            Fault::Delay => self.delays,
            Fault::Reorder => self.reorders,
            Fault::LostSettlement => self.lost_settlements,
            Fault::FailedPublish => self.failed_publishes,
            Fault::LostAcknowledgement => self.lost_acknowledgements,
            Fault::Leaving => self.leaving,
            Fault::Lost => self.lost,
        }
    }

    /// What is honest with an engine that takes nothing back: what it does not deliver again would be gone.
    pub(super) fn without_returns(self) -> Self {
        let never = Rate::default();
        Self { lost_settlements: never, leaving: never, lost: never, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chance_is_one_of_a_hit_and_ends_and_a_count_is_exact() {
        let never = [Rate::default(), Rate::from(0.0), Rate::from(f64::NAN), Rate::from(0)];
        assert!(never.iter().all(|rate| !rate.hits(0, 0)));
        let always = Rate::from(1.0);
        assert!(always.hits(2, u64::MAX) && !always.hits(3, 0));
        assert!(Rate::from(0.5).hits(0, u64::MAX / 2 - 1) && !Rate::from(0.5).hits(0, u64::MAX / 2 + 1));
        assert!(Rate::from(5).hits(4, u64::MAX) && !Rate::from(5).hits(5, 0));
    }
}
