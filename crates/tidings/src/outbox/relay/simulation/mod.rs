//! The relay's decisions over a [`table`] and a broker that are lists: whatever fails, a row with a key is on its way only when the one
//! before it is gone, and in the end each row was sent and deleted.
//!
//! Here stands what `Active` does with `plan` and `cursor`, without its I/O.

mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::{
    collection::vec,
    option, prop_assert, prop_assert_eq, prop_oneof, proptest,
    strategy::{Just, Strategy},
};
use tokio::time::Instant;

use self::table::Table;
use super::{
    cursor::Cursor,
    pace::Pace,
    plan::{Plan, Taken},
};
use crate::delivery::simulation::{Checked, config};

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A transaction writes so many rows and commits.
    Publish {
        key: Option<u8>,
        rows: usize,
    },
    /// One writes a row and stays open; of a key, one at a time has the lock.
    Begin {
        key: Option<u8>,
    },
    Commit {
        which: usize,
    },
    /// The relay looks, and takes fewer rows than it may when they are large.
    Look {
        large: Option<usize>,
    },
    /// It sends so many rows at most.
    Send {
        most: usize,
    },
    /// A batch comes back.
    Back {
        which: usize,
        how: How,
    },
    /// A batch ends in a panic, and all others are forgotten with it.
    Panic,
    Pass {
        millis: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// All was sent, and is deleted.
    Sent,
    /// Those in places with these bits failed, or everything did.
    Failed(u16),
    /// All was sent, and the database does not answer.
    Kept,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || option::weighted(0.8, 0..4_u8);
    let rows = prop_oneof![8 => 1..4_usize, 1 => 1..80_usize];
    let how = prop_oneof![4 => Just(How::Sent), 1 => (0..=u16::MAX).prop_map(How::Failed), 1 => Just(How::Kept)];
    prop_oneof![
        6 => (key(), rows).prop_map(|(key, rows)| Step::Publish { key, rows }),
        2 => key().prop_map(|key| Step::Begin { key }),
        2 => (0..8_usize).prop_map(|which| Step::Commit { which }),
        6 => option::weighted(0.2, 1..8_usize).prop_map(|large| Step::Look { large }),
        6 => (1..12_usize).prop_map(|most| Step::Send { most }),
        6 => (0..8_usize, how).prop_map(|(which, how)| Step::Back { which, how }),
        1 => Just(Step::Panic),
        2 => (0..120_u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

struct Course {
    table: Table,
    plan: Plan,
    cursor: Cursor,
    now: Instant,
    /// What one look takes at most.
    most_rows: usize,
    sending: Vec<Vec<Taken>>,
    /// What was taken and is neither deleted nor to be read again.
    in_hand: BTreeSet<i64>,
}

impl Course {
    fn new(most_rows: usize) -> Self {
        let (table, in_hand) = (Table::default(), BTreeSet::new());
        let (plan, cursor, now) = (Plan::default(), Cursor::new(), Instant::now());
        Self { table, plan, cursor, now, most_rows, sending: Vec::new(), in_hand }
    }

    fn take(&mut self, step: Step) -> Checked {
        match step {
            Step::Publish { key, rows } => self.table.publish(key, rows),
            Step::Begin { key } => self.table.begin(key),
            Step::Commit { which } => self.table.commit(which),
            Step::Look { .. } if self.plan.room() < self.most_rows => {}
            Step::Look { large } => self.look(large)?,
            Step::Send { most } => self.send(most)?,
            Step::Back { .. } if self.sending.is_empty() => {}
            Step::Back { which, how } => {
                let batch = self.sending.swap_remove(which % self.sending.len());
                self.back(batch, how)?;
            }
            Step::Panic => self.panicked(),
            Step::Pass { millis } => self.now += Duration::from_millis(millis),
        }
        prop_assert!(self.plan.in_hand().iter().eq(&self.in_hand), "{:?} in hand, not {:?}", self.plan.in_hand(), self.in_hand);
        prop_assert_eq!(self.plan.is_empty(), self.in_hand.is_empty());
        prop_assert_eq!(self.plan.room(), Plan::MOST - self.in_hand.len());
        Ok(())
    }

    fn look(&mut self, large: Option<usize>) -> Checked {
        let full: Vec<u8> =
            self.of_keys().into_iter().filter(|(_, rows)| *rows >= Plan::MOST_OF_KEY).map(|(key, _)| key).collect();
        let span = self.cursor.next(&self.plan, self.now);
        let found = self.table.look(&span, self.most_rows.min(large.unwrap_or(usize::MAX)));
        match found.last().filter(|_| found.len() >= self.most_rows) {
            Some(last) => self.cursor.reached(last.seq, self.table.newest()),
            None => self.cursor.restart(),
        }
        for row in found {
            // A look that goes on behind another may find again what is in hand; taking it changes nothing.
            let is_new = self.in_hand.insert(row.seq);
            let key = self.table.key(row.seq);
            prop_assert!(!is_new || key.is_none_or(|key| !full.contains(&key)), "more of a key of which enough is in hand");
            self.plan.take(row);
        }
        // What is in hand of a key are its first rows: none was passed over.
        let mut left_out = BTreeMap::new();
        for (seq, key) in self.table.keyed_rows() {
            if self.in_hand.contains(&seq) {
                let before = left_out.get(&key);
                prop_assert!(before.is_none(), "row {seq} was taken before {before:?} of its key");
            } else {
                left_out.insert(key, seq);
            }
        }
        for (key, rows) in self.of_keys() {
            prop_assert!(rows < Plan::MOST_OF_KEY + self.most_rows, "{rows} of key {key} in hand");
        }
        Ok(())
    }

    /// How many rows of each key are in hand.
    fn of_keys(&self) -> BTreeMap<u8, usize> {
        let mut rows = BTreeMap::new();
        self.in_hand.iter().filter_map(|seq| self.table.key(*seq)).for_each(|key| *rows.entry(key).or_default() += 1);
        rows
    }

    fn send(&mut self, most: usize) -> Checked {
        let batch = self.plan.batch(most);
        prop_assert!(batch.len() <= most);
        for (place, row) in batch.iter().enumerate() {
            prop_assert!(self.in_hand.contains(&row.seq) && self.table.has(row.seq), "row {} is not there", row.seq);
            let before = self.table.before(row.seq).next();
            prop_assert!(before.is_none(), "row {} is sent before {before:?} of its key", row.seq);
            let key = self.table.key(row.seq);
            let mut others = self.sending.iter().flatten().chain(&batch[..place]);
            let beside = others.find(|other| other.seq == row.seq || key.is_some() && self.table.key(other.seq) == key);
            prop_assert!(beside.is_none(), "row {} is sent beside {beside:?}", row.seq);
        }
        self.sending.extend(Some(batch).filter(|batch| !batch.is_empty()));
        Ok(())
    }

    fn back(&mut self, batch: Vec<Taken>, how: How) -> Checked {
        let fails = |place: usize| match how {
            How::Sent => false,
            How::Failed(mask) => mask & (1 << (place % 16)) != 0,
            How::Kept => true,
        };
        let (mut gone, mut again) = (Vec::new(), Vec::new());
        for (place, row) in batch.into_iter().enumerate() {
            if fails(place) { again.push(row) } else { gone.push(row) }
        }
        for row in &gone {
            prop_assert!(self.table.delete(row.seq), "row {} is deleted twice", row.seq);
            self.in_hand.remove(&row.seq);
            self.plan.gone(row);
        }
        for row in &again {
            // With all that was to wait for it.
            let key = self.table.key(row.seq);
            let table = &self.table;
            self.in_hand.retain(|seq| *seq != row.seq && (key.is_none() || table.key(*seq) != key));
            self.plan.again(row);
        }
        if !again.is_empty() {
            self.cursor.restart();
        }
        Ok(())
    }

    fn panicked(&mut self) {
        self.sending.clear();
        self.plan = Plan::default();
        self.cursor.restart();
        self.in_hand.clear();
    }

    /// Every transaction commits and every batch is acknowledged: all rows go, in as many looks as they fill.
    fn finish(mut self) -> Checked {
        while self.table.commit_one() {}
        let mut idle = 0;
        while !(self.table.is_empty() && self.sending.is_empty()) {
            let before = self.table.len();
            self.take(Step::Look { large: None })?;
            self.take(Step::Send { most: usize::MAX })?;
            while !self.sending.is_empty() {
                self.take(Step::Back { which: 0, how: How::Sent })?;
            }
            // A look that comes to the end finds nothing, and so may one that passes over a key; the next begins anew.
            idle = if self.table.len() < before { 0 } else { idle + 1 };
            prop_assert!(idle < 3, "stuck, in hand {:?}", self.in_hand);
        }
        prop_assert!(self.plan.is_empty() && self.plan.full_keys().is_empty() && self.plan.batch(1).is_empty(), "leftovers");
        self.table.check_all_went()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_row_goes_behind_the_one_before_it_of_its_key(most_rows in 1..40_usize, steps in vec(step(), 1..200)) {
        let mut course = Course::new(most_rows);
        for step in steps {
            course.take(step)?;
        }
        course.finish()?;
    }

    #[test]
    fn a_relay_looks_at_once_while_there_is_more_and_within_a_second_always(found in vec(0..4_u8, 1..100)) {
        let mut pace = Pace::new();
        let mut before = pace.wait();
        for found in found {
            match found {
                0 | 1 => pace.found_none(),
                2 => pace.found_more(),
                _ => pace.marked(),
            }
            let wait = pace.wait();
            prop_assert_eq!(pace.is_idle(), found < 2);
            match found {
                0 | 1 => prop_assert!(wait >= before && wait > Duration::ZERO && wait <= Duration::from_secs(1), "{before:?}, then {wait:?}"),
                2 => prop_assert_eq!(wait, Duration::ZERO),
                _ => prop_assert!(wait <= Duration::from_millis(1)),
            }
            before = wait;
        }
    }
}

/// What a simulation found (seed a02c91aa…): a look that went on behind others took the second row of a key, whose first had been
/// committed behind it.
#[test]
fn a_row_that_is_committed_late_is_not_overtaken_by_the_next_of_its_key() {
    let mut course = Course::new(4);
    let late = Some(2);
    let steps = [
        Step::Begin { key: late },
        Step::Publish { key: None, rows: 4 },
        Step::Look { large: None },
        Step::Commit { which: 0 },
        Step::Publish { key: late, rows: 1 },
        Step::Look { large: None },
    ];
    for step in steps {
        course.take(step).unwrap();
    }
    course.finish().unwrap();
}
