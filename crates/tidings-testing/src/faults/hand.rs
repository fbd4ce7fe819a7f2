//! What one subscription has of the engine's, as a state machine without I/O: what was handed over, what is held back, what
//! goes back.
//!
//! A *claim* is a delivery of the engine's; it is handed over once, or twice where it is duplicated, by receipts of our own. The
//! order of a key is kept by keeping together what is of one key: held back, leaving and lost are all of it that is in hand.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use tidings_core::{Delivery, Fetched, Key, Outcome, Receipt, Subscription};
use tokio::time::Instant;

use super::{
    choice::{Choice, Name, Stage},
    plan::{Fault, fraction},
};

/// How long a delivery waits to be passed by another.
const PASSED: Duration = Duration::from_millis(20);
/// How long what is leaving may be finished; then it is lost.
const LEAVING: Duration = Duration::from_secs(5);

/// What one subscription has of the engine's.
#[derive(Debug)]
pub(super) struct Hand {
    choice: Choice,
    subscription: Subscription,
    /// By number: in the order of their arrival.
    claims: BTreeMap<u64, Claim>,
    next: u64,
    /// What is not handed over yet, in order.
    held: VecDeque<Held>,
    /// What is to be taken away, of those that were handed over.
    tolls: VecDeque<Toll>,
    /// Keys of which something that is leaving is not settled yet, and since when.
    leaving: HashMap<Key, Instant>,
    /// What is to be handed back to the engine.
    pub(super) returning: Vec<Receipt>,
}

#[derive(Debug)]
struct Claim {
    engines: Receipt,
    name: Name,
    key: Option<Key>,
    /// One for each copy.
    copies: Vec<Copy>,
    /// To be lost: what is settled of it is passed over.
    doomed: Option<Doom>,
    leaving: bool,
    /// Whether its settlement is lost, once that is chosen.
    unheard: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Copy {
    Held,
    Handed,
    Settled,
}

#[derive(Debug)]
struct Held {
    delivery: Delivery,
    /// Delayed until then.
    until: Option<Instant>,
    /// Waits to be passed by another, but not longer than that.
    yields: Option<Instant>,
}

/// When a delivery is lost: before its handler can have ended, or when it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doom {
    AtOnce,
    Settled,
}

/// A delivery by which a key is taken away.
#[derive(Debug)]
struct Toll {
    fault: Fault,
    key: Option<Key>,
    claim: u64,
    receipt: Receipt,
}

impl Held {
    fn key(&self) -> Option<&Key> {
        self.delivery.message.key()
    }

    fn claim(&self) -> u64 {
        self.delivery.receipt.0[0]
    }

    fn waits_until(&self) -> Option<Instant> {
        self.until.max(self.yields)
    }
}

impl Hand {
    pub(super) fn new(choice: Choice, subscription: Subscription) -> Self {
        Self {
            choice,
            subscription,
            claims: BTreeMap::new(),
            next: 0,
            held: VecDeque::new(),
            tolls: VecDeque::new(),
            leaving: HashMap::new(),
            returning: Vec::new(),
        }
    }

    /// How many deliveries are held back.
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes in what the engine delivered.
    pub(super) fn take_in(&mut self, deliveries: Vec<Delivery>, now: Instant) {
        for mut delivery in deliveries {
            let (number, engines) = (self.next, delivery.receipt);
            self.next += 1;
            delivery.receipt = Receipt([number, 0, 0]);
            let name = self.choice.name_of(&delivery.message, &self.subscription);
            let key = delivery.message.key().cloned();
            let copies = vec![Copy::Held];
            self.claims.insert(number, Claim { engines, name, key, copies, doomed: None, leaving: false, unheard: None });
            let chance = self.choice.has_chance(Stage::Arrival, name);
            let hits = |fault| if chance { self.choice.hits(fault, name) } else { None };
            let until = hits(Fault::Delay).map(|draw| now + self.choice.plan.longest.mul_f64(fraction(draw)));
            let yields = hits(Fault::Reorder).map(|_| now + PASSED);
            self.held.push_back(Held { delivery, until, yields });
        }
    }

    /// Hands over up to `max` of what is not held back any longer.
    pub(super) fn hand_over(&mut self, max: usize, now: Instant) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        loop {
            let before = deliveries.len();
            let mut blocked: HashSet<Key> = self.leaving.keys().cloned().collect();
            let mut place = 0;
            while let Some(held) = self.held.get(place)
                && deliveries.len() < max
            {
                let key = held.key();
                if held.waits_until().is_some_and(|until| until > now) || key.is_some_and(|key| blocked.contains(key)) {
                    blocked.extend(key.filter(|_| !self.choice.plan.within_keys).cloned());
                    place += 1;
                } else if let Some(held) = self.held.remove(place) {
                    // Whatever was to be passed by another has been.
                    self.held.range_mut(..place).for_each(|passed| passed.yields = None);
                    deliveries.push(self.hand(held, place));
                }
            }
            if deliveries.len() == before {
                return deliveries;
            }
        }
    }

    /// Hands one over that was at that place, and chooses what becomes of it.
    fn hand(&mut self, held: Held, place: usize) -> Delivery {
        let (number, receipt) = (held.claim(), held.delivery.receipt);
        let Some(claim) = self.claims.get_mut(&number) else { return held.delivery };
        if let Some(copy) = copy_of(claim, receipt) {
            *copy = Copy::Handed;
        }
        let name = claim.name;
        let is_first = receipt.0[1] == 0;
        if !is_first || !self.choice.has_chance(Stage::Handover, name) {
            return held.delivery;
        }
        if self.choice.hits(Fault::Duplicate, name).is_some() {
            claim.copies.push(Copy::Held);
            let delivery = Delivery { receipt: Receipt([number, 1, 0]), ..held.delivery.clone() };
            self.held.insert(place, Held { delivery, until: None, yields: None });
        }
        if let Some(draw) = self.choice.hits(Fault::Lost, name) {
            self.choice.comes_again(name);
            claim.doomed = Some(if draw % 2 == 0 { Doom::AtOnce } else { Doom::Settled });
        }
        let fault = match claim.doomed {
            Some(Doom::AtOnce) => Some(Fault::Lost),
            Some(Doom::Settled) => None,
            None => self.choice.hits(Fault::Leaving, name).map(|_| Fault::Leaving),
        };
        self.tolls.extend(fault.map(|fault| Toll { fault, key: claim.key.clone(), claim: number, receipt }));
        held.delivery
    }

    /// What a rebalance takes away next.
    pub(super) fn taken_away(&mut self, now: Instant) -> Option<Fetched> {
        let late = self.leaving.iter().find(|(_, since)| now.saturating_duration_since(**since) >= LEAVING);
        if let Some(key) = late.map(|(key, _)| key.clone()) {
            return Some(Fetched::Lost(self.lose(|_, claim| claim.key.as_ref() == Some(&key))));
        }
        let Toll { fault, key, claim: number, receipt } = self.tolls.pop_front()?;
        let chosen = |other: u64, claim: &Claim| other == number || (key.is_some() && claim.key == key);
        let mut receipts = if fault == Fault::Lost { self.lose(chosen) } else { self.leave(chosen, now) };
        // It may have been settled meanwhile: the two cross on their way.
        if !receipts.contains(&receipt) {
            receipts.push(receipt);
        }
        Some(if fault == Fault::Lost { Fetched::Lost(receipts) } else { Fetched::Leaving(receipts) })
    }

    /// Claims are about to be taken away: nothing more is handed over of their key until they are settled. Answers what was.
    fn leave(&mut self, chosen: impl Fn(u64, &Claim) -> bool, now: Instant) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for (number, claim) in self.claims.iter_mut().filter(|(number, claim)| chosen(**number, claim)) {
            let handed = handed(*number, claim);
            if handed.is_empty() {
                continue;
            }
            claim.leaving = true;
            // A second copy that nobody has seen would keep it from being settled.
            for copy in claim.copies.iter_mut().filter(|copy| **copy == Copy::Held) {
                *copy = Copy::Settled;
            }
            self.held.retain(|held| held.claim() != *number);
            if let Some(key) = claim.key.clone() {
                self.leaving.entry(key).or_insert(now);
            }
            receipts.extend(handed);
        }
        receipts
    }

    /// Claims go back to the engine. Answers what was handed over of them.
    fn lose(&mut self, chosen: impl Fn(u64, &Claim) -> bool) -> Vec<Receipt> {
        let (receipts, engines) = self.forget(chosen);
        self.returning.extend(engines);
        self.open_keys();
        receipts
    }

    /// Claims are no longer ours. Answers what was handed over of them, and the engine's receipts.
    fn forget(&mut self, chosen: impl Fn(u64, &Claim) -> bool) -> (Vec<Receipt>, Vec<Receipt>) {
        let (mut receipts, mut engines) = (Vec::new(), Vec::new());
        for (number, claim) in self.claims.extract_if(.., |number, claim| chosen(*number, claim)) {
            receipts.extend(handed(number, &claim));
            engines.push(claim.engines);
        }
        self.held.retain(|held| self.claims.contains_key(&held.claim()));
        (receipts, engines)
    }

    /// A delivery is settled; answers what the engine is told, if anything. To be called again when that failed.
    pub(super) fn settle(&mut self, receipt: Receipt, outcome: Outcome) -> Option<(Receipt, Outcome)> {
        let number = receipt.0[0];
        let claim = self.claims.get_mut(&number)?;
        *copy_of(claim, receipt)? = Copy::Settled;
        if claim.copies.iter().any(|copy| *copy != Copy::Settled) {
            return None;
        }
        if let Some(doom) = claim.doomed {
            if doom == Doom::Settled {
                self.tolls.push_back(Toll { fault: Fault::Lost, key: claim.key.clone(), claim: number, receipt });
            }
            return None;
        }
        // Another instance may have it at once: nobody would see a difference.
        if outcome == Outcome::HandBack {
            return Some((claim.engines, outcome));
        }
        let (choice, name) = (&self.choice, claim.name);
        let unheard = *claim.unheard.get_or_insert_with(|| choice.hits(Fault::LostSettlement, name).is_some());
        if unheard || matches!(outcome, Outcome::Retry { .. }) {
            choice.comes_again(name);
        }
        Some((claim.engines, if unheard { Outcome::HandBack } else { outcome }))
    }

    /// The engine was told of these.
    pub(super) fn settled(&mut self, engines: &[(Receipt, Outcome)]) {
        let engines: HashSet<Receipt> = engines.iter().map(|(receipt, _)| *receipt).collect();
        self.claims.retain(|_, claim| !engines.contains(&claim.engines));
    }

    /// Keys of which all that was leaving has ended: what came of them meanwhile goes back to be sorted in with it.
    ///
    /// For the fetching half alone: what the engine has brought but is not taken in yet would be missed.
    pub(super) fn open_keys(&mut self) {
        let claims = &self.claims;
        let ended: Vec<Key> = self
            .leaving
            .extract_if(|key, _| !claims.values().any(|claim| claim.leaving && claim.key.as_ref() == Some(key)))
            .map(|(key, _)| key)
            .collect();
        if !ended.is_empty() {
            let is_of = |claim: &Claim| claim.key.as_ref().is_some_and(|key| ended.contains(key));
            self.lose(|_, claim| is_of(claim) && claim.copies.contains(&Copy::Held));
        }
    }

    /// The engine is about to take these away: what of them was handed over.
    pub(super) fn engine_asks_for(&mut self, engines: &[Receipt]) -> Vec<Receipt> {
        self.lose(|_, claim| engines.contains(&claim.engines) && !claim.copies.contains(&Copy::Handed));
        let asked = self.claims.iter().filter(|(_, claim)| engines.contains(&claim.engines));
        asked.flat_map(|(number, claim)| handed(*number, claim)).collect()
    }

    /// The engine has taken these away: what of them was handed over.
    pub(super) fn engine_took(&mut self, engines: &[Receipt]) -> Vec<Receipt> {
        let (receipts, _) = self.forget(|_, claim| engines.contains(&claim.engines));
        self.open_keys();
        receipts
    }

    /// The engine's receipt of a delivery, while it is ours.
    pub(super) fn engines(&self, receipt: Receipt) -> Option<Receipt> {
        self.claims.get(&receipt.0[0]).map(|claim| claim.engines)
    }

    /// When to look again although nothing was heard.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        let held = self.held.iter().filter_map(Held::waits_until).filter(|until| *until > now);
        held.chain(self.leaving.values().map(|since| *since + LEAVING)).min()
    }
}

fn copy_of(claim: &mut Claim, receipt: Receipt) -> Option<&mut Copy> {
    claim.copies.get_mut(usize::try_from(receipt.0[1]).ok()?)
}

/// What was handed over of a claim and not settled.
fn handed(number: u64, claim: &Claim) -> Vec<Receipt> {
    let copies = (0..).zip(&claim.copies).filter(|(_, copy)| **copy == Copy::Handed);
    copies.map(|(place, _)| Receipt([number, place, 0])).collect()
}
