//! The choice of who is hit: by the seed, the message, the kind of fault and how often the message was looked at, and never by
//! the order in which tasks happen to run.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidings_core::{Message, MessageId, Source, Subscription};

use super::plan::{Fault, Plan};

/// What was injected so far. Two runs that injected the same faults into the same messages are equal.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Injected(BTreeSet<(Fault, Name, u32)>);

impl Injected {
    /// How many of a kind.
    #[must_use]
    pub fn count(&self, fault: Fault) -> usize {
        self.0.iter().filter(|(other, ..)| *other == fault).count()
    }

    /// How many of all kinds.
    #[must_use]
    pub fn total(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Injected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds: BTreeSet<Fault> = self.0.iter().map(|(fault, ..)| *fault).collect();
        f.debug_map().entries(kinds.into_iter().map(|fault| (fault, self.count(fault)))).finish()
    }
}

/// What tells messages apart in every run alike: for whom, topic, type, key and body. An id is another one in each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(u64);

impl Name {
    /// A message that is published; one that is published again is the same, whatever its id.
    pub(super) fn of_published(message: &Message) -> Self {
        Self::of(message, &[])
    }

    fn of(message: &Message, scope: &[&[u8]]) -> Self {
        let key = message.key().map_or("", |key| key.as_str());
        let parts = [message.topic().as_str(), message.event_type().as_str(), key].map(str::as_bytes);
        let parts = scope.iter().copied().chain(parts).chain([&message.body()[..]]);
        // FNV-1a; a length tells where a part begins.
        Self(parts.fold(0xcbf2_9ce4_8422_2325, |hash, part| {
            let bytes = part.len().to_le_bytes();
            bytes.iter().chain(part).fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
        }))
    }
}

/// Where on its way a delivery may be hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// As it came from the engine.
    Arrival,
    /// As it is handed over.
    Handover,
}

/// Chooses; clones remember together.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) seed: u64,
    pub(super) plan: Plan,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// How often a message was looked at, and hit.
    looks: HashMap<(Fault, Name), (u32, u32)>,
    injected: BTreeSet<(Fault, Name, u32)>,
    /// Those that have had their chance there, and come for another reason than a fault of their own.
    over: HashSet<(Stage, Name)>,
    /// Messages that only their ids tell apart, by their places among them.
    alike: HashMap<Name, HashMap<(Source, MessageId), usize>>,
}

impl Choice {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, plan: Plan::default(), memory: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of a message that was delivered to a subscription.
    pub(super) fn name_of(&self, message: &Message, subscription: &Subscription) -> Name {
        let scope = [subscription.group.as_str(), subscription.pattern.as_str()].map(str::as_bytes);
        let name = Name::of(message, &scope);
        let mut memory = self.lock();
        let alike = memory.alike.entry(name).or_default();
        let next = alike.len();
        let place = *alike.entry((message.source().clone(), message.id().clone())).or_insert(next);
        Name(mix(name.0 ^ place as u64))
    }

    /// Whether a message is hit this time; the answer is a random number for what follows.
    pub(super) fn hits(&self, fault: Fault, name: Name) -> Option<u64> {
        let rate = self.plan.rate(fault);
        if rate.is_never() {
            return None;
        }
        let mut memory = self.lock();
        let (looks, hits) = memory.looks.entry((fault, name)).or_default();
        *looks += 1;
        let nth = *looks;
        let draw = [fault as u64, name.0, u64::from(nth)].into_iter().fold(mix(self.seed), |state, part| mix(state ^ part));
        let hit = rate.hits(*hits, draw);
        *hits += u32::from(hit);
        hit.then(|| {
            memory.injected.insert((fault, name, nth));
            mix(draw)
        })
    }

    /// Whether a delivery has its chance here: the first time, and each time after [`Choice::comes_again`].
    ///
    /// One that comes again for the sake of its neighbours has none, for how often that happens is a matter of timing.
    pub(super) fn has_chance(&self, stage: Stage, name: Name) -> bool {
        self.lock().over.insert((stage, name))
    }

    /// A message comes again by a fault of its own, or since its handler asked for that.
    pub(super) fn comes_again(&self, name: Name) {
        let mut memory = self.lock();
        memory.over.remove(&(Stage::Arrival, name));
        memory.over.remove(&(Stage::Handover, name));
    }

    pub(super) fn injected(&self) -> Injected {
        Injected(self.lock().injected.clone())
    }
}

/// The variable that holds a seed.
pub(super) const VARIABLE: &str = "FAULTS_SEED";

/// The seed of the environment, or a random one.
#[expect(clippy::panic, reason = "another seed than the one that was asked for would test something else")]
pub(super) fn seed() -> u64 {
    match std::env::var(VARIABLE) {
        Ok(seed) => seed.trim().parse().unwrap_or_else(|_| panic!("{VARIABLE}={seed:?} is not a number from 0 to 2^64 - 1")),
        Err(_) => RandomState::new().hash_one(()),
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): what follows a state.
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
