//! Order over broken connections: when to ask for messages again. Plain decisions, no I/O.
//!
//! What was on its way when a connection broke, or an instance died, comes again only when its lease ends, and newer messages
//! would come before it. So nothing is delivered until the server waits for nobody but us, or every lease of before has ended
//! and what came of it is here. What others handed back in order is waiting already: it is fetched step by step, since a
//! larger step might bring newer messages.

use std::time::Duration;

use tokio::time::Instant;

use super::consumer::LEASE;

/// The server may see late that a lease has ended, when its disk or its processors are busy.
const LATE: Duration = Duration::from_secs(1);
/// Between two looks at how many the server waits for.
const LOOK: Duration = Duration::from_millis(200);
/// When all leases have ended, what is to come again comes within this.
const QUIET: Duration = Duration::from_secs(1);

/// Whether messages may be delivered.
pub(super) enum Gate {
    Open,
    Shut(Shut),
}

pub(super) struct Shut {
    /// When every lease of before has ended.
    until: Instant,
    pub(super) look: Instant,
    /// How many to ask for in the next step; 0 when newer messages have come.
    step: usize,
}

/// What to do after a look.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Open,
    Ask(usize),
    Wait,
}

impl Gate {
    /// For a subscription that begins, while the server waits for `unsettled` messages of others.
    pub(super) fn at_start(unsettled: usize, now: Instant) -> Self {
        if unsettled == 0 { Self::Open } else { Self::after_break(now, now) }
    }

    /// For a connection that broke then.
    pub(super) fn after_break(broke: Instant, now: Instant) -> Self {
        Self::Shut(Shut { until: broke + LEASE + LATE, look: now, step: 1 })
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// A message came that was never delivered before: what the server has to send again is behind us, as far as leases
    /// have ended, since it sends that first. Before they have there is no use in asking for more.
    pub(super) fn newer_came(&mut self, now: Instant) {
        match self {
            Self::Shut(shut) if now < shut.until => shut.step = 0,
            _ => *self = Self::Open,
        }
    }
}

impl Shut {
    /// Goes on after a look, which found `missing` messages that the server waits for and that are not ours; `asked`: what
    /// was asked for last has not all come.
    pub(super) fn next(&mut self, missing: usize, asked: bool, now: Instant) -> Next {
        self.look = now + LOOK;
        if missing == 0 || now >= self.until + QUIET {
            return Next::Open;
        }
        let step = if now >= self.until { missing } else { self.step.min(missing) };
        if asked || step == 0 {
            return Next::Wait;
        }
        self.step = self.step.saturating_mul(2);
        Next::Ask(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shut(now: Instant) -> Shut {
        match Gate::at_start(5, now) {
            Gate::Shut(shut) => shut,
            Gate::Open => panic!("open"),
        }
    }

    #[test]
    fn who_holds_all_goes_on() {
        let now = Instant::now();
        assert!(Gate::at_start(0, now).is_open());
        assert_eq!(shut(now).next(0, false, now), Next::Open);
    }

    #[test]
    fn what_was_handed_back_is_fetched_step_by_step() {
        let now = Instant::now();
        let mut shut = shut(now);
        let steps: Vec<_> = [20, 19, 17, 13, 5, 0].map(|missing| shut.next(missing, false, now)).into();
        assert_eq!(steps, [Next::Ask(1), Next::Ask(2), Next::Ask(4), Next::Ask(8), Next::Ask(5), Next::Open]);
    }

    #[test]
    fn a_newer_message_waits_until_every_lease_has_ended() {
        let now = Instant::now();
        let mut gate = Gate::after_break(now, now);
        gate.newer_came(now);
        let Gate::Shut(shut) = &mut gate else { panic!("open") };
        assert_eq!(shut.next(3, false, now), Next::Wait);
        let ended = now + LEASE + LATE;
        assert_eq!(shut.next(3, false, ended), Next::Ask(3));
        assert_eq!(shut.next(3, true, ended), Next::Wait);
        assert_eq!(shut.next(3, true, ended + QUIET), Next::Open);
        gate.newer_came(ended);
        assert!(gate.is_open());
    }
}
