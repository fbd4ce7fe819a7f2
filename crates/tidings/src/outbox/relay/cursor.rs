//! Where the next look begins. Pure; the time is told.
//!
//! A look begins at the first row: a transaction may commit late with a low number, and rows that failed or were passed over wait
//! there. While a backlog is drained, though, passing over what is in hand and what was just deleted would be most of the work, so
//! looks that find as many rows as they may take go on behind one another for a short while.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::plan::Plan;

/// What a look takes: rows behind `after` that are not in hand, and of none of these keys.
#[derive(Debug, PartialEq)]
pub(super) struct Span {
    pub(super) after: i64,
    pub(super) in_hand: Vec<i64>,
    pub(super) full_keys: Vec<String>,
}

impl Span {
    /// Whether it takes whatever there is.
    pub(super) fn is_from_first(&self) -> bool {
        self.after == Self::FIRST
    }

    /// Before every row: numbers begin at one.
    const FIRST: i64 = 0;
}

/// How far looks have come.
#[derive(Debug)]
pub(super) struct Cursor {
    after: i64,
    /// Keys of which rows were passed over: they may wait before `after`, and those behind have to wait for them.
    passed_over: BTreeSet<String>,
    begun: Instant,
}

impl Cursor {
    /// How long a row that was committed late may have to wait for a look from the first row.
    const LONGEST: Duration = Duration::from_millis(100);

    pub(super) fn new() -> Self {
        Self { after: Span::FIRST, passed_over: BTreeSet::new(), begun: Instant::now() }
    }

    /// The next look.
    pub(super) fn next(&mut self, plan: &Plan, now: Instant) -> Span {
        if now.duration_since(self.begun) > Self::LONGEST {
            self.restart();
        }
        if self.after == Span::FIRST {
            self.begun = now;
        }
        self.passed_over.extend(plan.full_keys());
        // All that is in hand was found by looks up to `after`.
        let in_hand = if self.after == Span::FIRST { plan.in_hand() } else { Vec::new() };
        Span { after: self.after, in_hand, full_keys: self.passed_over.iter().cloned().collect() }
    }

    /// A look took all that it may, up to this row.
    pub(super) fn reached(&mut self, last: i64) {
        self.after = last;
    }

    /// The next look begins at the first row: the last one came to the end, or a row has to be read again.
    pub(super) fn restart(&mut self) {
        self.after = Span::FIRST;
        self.passed_over.clear();
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::{Key, Message, Source, Topic};

    use super::{super::plan::Taken, *};

    fn row(seq: i64, key: Option<&str>) -> Taken {
        let message = Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), bytes::Bytes::new());
        Taken { seq, message: message.key(key.map(|key| Key::new(key).unwrap())).build() }
    }

    #[test]
    fn looks_go_on_behind_one_another_and_begin_anew_in_time() {
        let (mut cursor, mut plan, now) = (Cursor::new(), Plan::default(), Instant::now());
        plan.take(row(7, None));
        let first = Span { after: 0, in_hand: vec![7], full_keys: Vec::new() };
        assert_eq!(cursor.next(&plan, now), first);
        cursor.reached(7);
        assert_eq!(cursor.next(&plan, now), Span { after: 7, in_hand: Vec::new(), full_keys: Vec::new() });
        assert_eq!(cursor.next(&plan, now + 2 * Cursor::LONGEST), first);
    }

    #[test]
    fn a_key_that_was_passed_over_stays_so_until_a_look_from_the_first_row() {
        let (mut cursor, mut plan, now) = (Cursor::new(), Plan::default(), Instant::now());
        for seq in 1..=64 {
            plan.take(row(seq, Some("hot")));
        }
        assert_eq!(cursor.next(&plan, now).full_keys, ["hot"]);
        cursor.reached(600);
        let drained = Plan::default();
        assert_eq!(cursor.next(&drained, now).full_keys, ["hot"]);
        cursor.restart();
        assert!(cursor.next(&drained, now).full_keys.is_empty());
    }
}
