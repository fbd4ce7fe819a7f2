//! What came, counted: what is missing, and what came more than once, which is told and never hidden.

use std::{collections::BTreeMap, io::Write as _};

use tidings_core::Delivery;

use super::{engine::Place, reader::body};

/// How often each message of a case came, by its body.
#[derive(Default)]
pub(super) struct Ledger {
    came: BTreeMap<String, usize>,
    total: usize,
}

impl Ledger {
    pub(super) fn note(&mut self, deliveries: &[Delivery]) {
        self.note_bodies(deliveries.iter().map(body));
    }

    pub(super) fn note_bodies(&mut self, bodies: impl IntoIterator<Item = String>) {
        for body in bodies {
            *self.came.entry(body).or_default() += 1;
            self.total += 1;
        }
    }

    /// How many different ones came.
    pub(super) fn different(&self) -> usize {
        self.came.len()
    }

    pub(super) fn has(&self, body: &str) -> bool {
        self.came.contains_key(body)
    }

    /// All came, and not more came again than `explained`: what was in hand, unsettled, when somebody went away.
    pub(super) fn check(&self, place: &Place, expected: &[String], explained: usize) {
        let missing: Vec<_> = expected.iter().filter(|body| !self.has(body)).collect();
        assert!(missing.is_empty(), "{} of {} never came, the first: {}", missing.len(), expected.len(), missing[0]);
        assert!(self.came.len() <= expected.len(), "messages came that nobody published");
        self.told(place, explained);
    }

    /// Not more came again than `explained`.
    pub(super) fn told(&self, place: &Place, explained: usize) {
        let again = self.again();
        place.figures().again(again);
        if again > 0 {
            // Straight to the stream: a passing test is to tell it too.
            let (name, different) = (place.engine_name(), self.different());
            let _ = writeln!(std::io::stderr(), "{name}: of {different} messages {again} came again, {explained} may");
        }
        assert!(again <= explained, "{again} came again, and what was in hand explains {explained}");
    }

    /// How many deliveries were of a message that had come before.
    pub(super) fn again(&self) -> usize {
        self.total - self.came.len()
    }
}
