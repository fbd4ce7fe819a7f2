//! Where the next look begins. Pure; the time is told.
//!
//! A look begins at the first row: a transaction may commit late with a low number, and rows that failed or were passed over wait
//! there. While a backlog is drained, though, passing over what is in hand and what was just deleted would be most of the work, so
//! looks that find as many rows as they may take go on behind one another for a short while. They take nothing that was written after
//! the first of them: a row that was committed late lies behind them, and the next of its key might be found before it.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::Instant;

use super::plan::Plan;

/// What a look takes: rows behind `after` and up to `up_to` that are not in hand, and of none of these keys.
#[derive(Debug, PartialEq)]
pub(super) struct Span {
    pub(super) after: i64,
    pub(super) up_to: i64,
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
    /// The last row that there was at the first look of these.
    up_to: i64,
    /// Keys of which rows were passed over: they may wait before `after`, and those behind have to wait for them.
    passed_over: BTreeSet<String>,
    begun: Instant,
}

impl Cursor {
    /// How long a row that was committed late may have to wait for a look from the first row.
    const LONGEST: Duration = Duration::from_millis(100);

    pub(super) fn new() -> Self {
        Self { after: Span::FIRST, up_to: i64::MAX, passed_over: BTreeSet::new(), begun: Instant::now() }
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
        // Almost all that is in hand was found by looks up to `after`; the plan knows the rest when it comes again.
        let in_hand = if self.after == Span::FIRST { plan.in_hand() } else { Vec::new() };
        Span { after: self.after, up_to: self.up_to, in_hand, full_keys: self.passed_over.iter().cloned().collect() }
    }

    /// A look took all that it may, up to this row, when `newest` was the last there was.
    pub(super) fn reached(&mut self, last: i64, newest: i64) {
        (self.after, self.up_to) = (last, self.up_to.min(newest));
    }

    /// The next look begins at the first row: the last one came to the end, or a row has to be read again.
    pub(super) fn restart(&mut self) {
        (self.after, self.up_to) = (Span::FIRST, i64::MAX);
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
        let first = Span { after: 0, up_to: i64::MAX, in_hand: vec![7], full_keys: Vec::new() };
        assert_eq!(cursor.next(&plan, now), first);
        cursor.reached(7, 20);
        let second = Span { after: 7, up_to: 20, in_hand: Vec::new(), full_keys: Vec::new() };
        assert_eq!(cursor.next(&plan, now), second);
        cursor.reached(15, 30);
        assert_eq!(
            cursor.next(&plan, now),
            Span { after: 15, ..second },
            "what was written meanwhile is for the next look from the first"
        );
        assert_eq!(cursor.next(&plan, now + 2 * Cursor::LONGEST), first);
    }

    #[test]
    fn a_key_that_was_passed_over_stays_so_until_a_look_from_the_first_row() {
        let (mut cursor, mut plan, now) = (Cursor::new(), Plan::default(), Instant::now());
        for seq in 1..=64 {
            plan.take(row(seq, Some("hot")));
        }
        assert_eq!(cursor.next(&plan, now).full_keys, ["hot"]);
        cursor.reached(600, 1000);
        let drained = Plan::default();
        assert_eq!(cursor.next(&drained, now).full_keys, ["hot"]);
        cursor.restart();
        assert!(cursor.next(&drained, now).full_keys.is_empty());
    }
}
