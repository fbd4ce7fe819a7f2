//! Running one message with nothing beside it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

/// A gate that the subscriptions of a service share: any number run side by side, or one alone.
///
/// Only a message that probably kills the process is run alone, so nobody waits here in the ordinary case: one who has to
/// looks again after [`Alone::LOOK_AGAIN`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Alone(Arc<Gate>);

#[derive(Debug, Default)]
struct Gate {
    /// Subscriptions that run something.
    busy: AtomicUsize,
    /// Subscriptions that want to run something alone.
    wanted: AtomicUsize,
    /// Whether one does.
    taken: AtomicBool,
}

/// What one subscription may do.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Alone,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Beside,
    Wanting,
    Alone,
}

impl Alone {
    /// How long one who must wait does so before looking again.
    pub(super) const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(20);

    pub(super) fn pass(&self) -> Pass {
        Pass { gate: self.clone(), state: State::Idle }
    }
}

impl Pass {
    /// Whether messages may be run beside those of others.
    pub(super) fn beside(&mut self) -> bool {
        let gate = &self.gate.0;
        match self.state {
            State::Alone => return false,
            State::Beside => return gate.wanted.load(SeqCst) == 0,
            State::Wanting => self.idle(),
            State::Idle => {}
        }
        let gate = &self.gate.0;
        // Announced before looking, as the other side does: of two that do so at once, one sees the other.
        gate.busy.fetch_add(1, SeqCst);
        if gate.wanted.load(SeqCst) > 0 {
            gate.busy.fetch_sub(1, SeqCst);
            return false;
        }
        self.state = State::Beside;
        true
    }

    /// Whether a message may be run alone; from the first question on, nobody begins anything beside it.
    pub(super) fn alone(&mut self) -> bool {
        let gate = &self.gate.0;
        if self.state == State::Alone {
            return true;
        }
        if self.state != State::Wanting {
            gate.wanted.fetch_add(1, SeqCst);
            if self.state == State::Beside {
                gate.busy.fetch_sub(1, SeqCst);
            }
            self.state = State::Wanting;
        }
        let free = gate.busy.load(SeqCst) == 0 && gate.taken.compare_exchange(false, true, SeqCst, SeqCst).is_ok();
        if free {
            self.state = State::Alone;
        }
        free
    }

    /// Nothing runs any more.
    pub(super) fn idle(&mut self) {
        let gate = &self.gate.0;
        match self.state {
            State::Idle => {}
            State::Beside => drop(gate.busy.fetch_sub(1, SeqCst)),
            State::Wanting => drop(gate.wanted.fetch_sub(1, SeqCst)),
            State::Alone => {
                gate.taken.store(false, SeqCst);
                gate.wanted.fetch_sub(1, SeqCst);
            }
        }
        self.state = State::Idle;
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.idle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_wants_to_be_alone_waits_for_the_others_and_they_for_it() {
        let gate = Alone::default();
        let [mut a, mut b, mut c] = [gate.pass(), gate.pass(), gate.pass()];
        assert!(a.beside() && b.beside());
        b.idle();
        assert!(!b.alone(), "a runs");
        assert!(!a.beside() && !c.beside(), "b wants to be alone");
        a.idle();
        assert!(b.alone());
        assert!(!c.alone() && !a.beside());
        b.idle();
        assert!(c.alone());
        drop(c);
        assert!(a.beside() && b.beside());
    }
}
