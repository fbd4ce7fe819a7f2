//! Leases through any course of events: what is held is what was fetched and neither settled nor lost, and each is lost when nothing
//! was sent for it in a whole lease.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prop_assert, prop_assert_eq, prop_oneof, proptest,
    strategy::{Just, Strategy},
};

use super::*;
use crate::delivery::simulation::{Checked, config};

const LENGTH: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many are fetched.
    Hold(u64),
    /// Those whose numbers end in these bits are settled, whether held or not.
    Release(u16),
    /// All that is held is asked for.
    Ask,
    /// The engine answers which of all that ever were are lost, or not at all.
    Answer(Option<u16>),
    Expire,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let mask = || (0..=u16::MAX, 0..=u16::MAX).prop_map(|(one, other)| one & other);
    prop_oneof![
        3 => (1..5_u64).prop_map(Step::Hold),
        2 => mask().prop_map(Step::Release),
        3 => Just(Step::Ask),
        2 => mask().prop_map(|lost| Step::Answer(Some(lost))),
        2 => Just(Step::Answer(Some(0))),
        1 => Just(Step::Answer(None)),
        3 => Just(Step::Expire),
        3 => (0..20_u64).prop_map(Step::Pass),
    ]
}

struct Course {
    leases: Leases,
    /// For each that is held, when something was last sent for it; fetching counts.
    model: BTreeMap<Receipt, Instant>,
    asked: Option<(Vec<Receipt>, Instant)>,
    now: Instant,
    fetched: u64,
}

impl Course {
    fn take(&mut self, step: Step) -> Checked {
        match step {
            Step::Hold(count) => {
                let receipts = (self.fetched..self.fetched + count).map(receipt);
                self.fetched += count;
                self.model.extend(receipts.clone().map(|receipt| (receipt, self.now)));
                self.leases.hold(receipts, self.now);
            }
            Step::Release(mask) => {
                let released = self.chosen(mask);
                self.leases.release(released.iter().copied());
                self.model.retain(|receipt, _| !released.contains(receipt));
            }
            Step::Ask => self.asked = Some((self.leases.held(), self.now)),
            Step::Answer(lost) => {
                if let (Some((asked, sent)), Some(mask)) = (self.asked.take(), lost) {
                    self.extended(&asked, sent, self.chosen(mask))?;
                }
            }
            Step::Expire => {
                let expected: Vec<_> = self.model.extract_if(.., |_, sent| *sent + LENGTH <= self.now).collect();
                let expired = sorted(self.leases.expire(self.now));
                prop_assert_eq!(expired, expected.into_iter().map(|(receipt, _)| receipt).collect::<Vec<_>>(), "expired");
            }
            Step::Pass(seconds) => self.now += Duration::from_secs(seconds),
        }
        let held = sorted(self.leases.held());
        prop_assert_eq!(held, self.model.keys().copied().collect::<Vec<_>>(), "held");
        Ok(())
    }

    fn extended(&mut self, asked: &[Receipt], sent: Instant, lost: Vec<Receipt>) -> Checked {
        for receipt in asked {
            self.model.entry(*receipt).and_modify(|last| *last = sent);
        }
        let expected: Vec<_> = lost.iter().copied().filter(|receipt| self.model.remove(receipt).is_some()).collect();
        prop_assert_eq!(self.leases.extended(asked, lost, sent), expected, "lost, as far as it was held");
        Ok(())
    }

    fn chosen(&self, mask: u16) -> Vec<Receipt> {
        (0..self.fetched).filter(|number| mask & (1 << (number % 16)) != 0).map(receipt).collect()
    }
}

fn receipt(number: u64) -> Receipt {
    Receipt([number, 0, 0])
}

fn sorted(mut receipts: Vec<Receipt>) -> Vec<Receipt> {
    receipts.sort_unstable_by_key(|receipt| receipt.0);
    receipts
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_lease_ends_once_by_settlement_loss_or_silence(steps in vec(step(), 1..100)) {
        let now = Instant::now();
        let mut course = Course { leases: Leases::new(LENGTH), model: BTreeMap::new(), asked: None, now, fetched: 0 };
        for step in steps {
            course.take(step)?;
        }
        course.now += LENGTH;
        course.take(Step::Expire)?;
        prop_assert!(course.leases.held().is_empty(), "something is held for ever");
    }
}
