//! Recognising a message that was published before.

use std::{
    collections::HashSet,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    mem,
};

use foldhash::fast::RandomState;
use tidings_core::Message;

/// The newest 8,192 messages at least, 16,384 at most.
///
/// Two sets that take turns, so that nothing is taken out one by one.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    young: Fingerprints,
    old: Fingerprints,
    hashers: (RandomState, RandomState),
}

/// What stands for a de-duplication id: 128 bits with secret seeds, so that two ids never share them, and nothing to
/// write, keep or drop for each message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64, u64);

type Fingerprints = HashSet<Fingerprint, BuildHasherDefault<FirstHalf>>;

impl Recent {
    const HALF: usize = 8_192;

    pub(crate) fn fingerprint(&self, message: &Message) -> Fingerprint {
        let (one, other) = &self.hashers;
        let of = |hasher: &RandomState| match message.own_dedup_id() {
            Some(own) => hasher.hash_one(own),
            None => hasher.hash_one((message.source(), message.id())),
        };
        Fingerprint(of(one), of(other))
    }

    /// Remembers it; whether it is new.
    pub(crate) fn insert(&mut self, fingerprint: Fingerprint) -> bool {
        if self.young.len() >= Self::HALF {
            mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        !self.old.contains(&fingerprint) && self.young.insert(fingerprint)
    }

    /// Forgets what was remembered last and not taken after all.
    pub(crate) fn remove(&mut self, fingerprint: Fingerprint) {
        self.young.remove(&fingerprint);
    }
}

impl std::hash::Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// A fingerprint is a hash already.
#[derive(Debug, Default)]
struct FirstHalf(u64);

impl Hasher for FirstHalf {
    fn write(&mut self, _: &[u8]) {}

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_core::{MessageId, Source, Topic};

    use super::*;

    fn message(id: &str) -> Message {
        Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), Bytes::new())
            .id(MessageId::new(id).unwrap())
            .build()
    }

    #[test]
    fn the_newest_are_known_and_the_oldest_forgotten() {
        let mut recent = Recent::default();
        let prints: Vec<_> = (0..3 * Recent::HALF).map(|n| recent.fingerprint(&message(&n.to_string()))).collect();
        for (n, print) in prints.iter().enumerate() {
            assert!(recent.insert(*print));
            assert!(!recent.insert(prints[n.saturating_sub(Recent::HALF - 1)]));
        }
        assert!(recent.insert(prints[0]));
    }

    #[test]
    fn what_was_set_to_be_compared_counts_instead_of_source_and_id() {
        let recent = Recent::default();
        let own = |id: &str, own: &str| recent.fingerprint(&message(id).into_builder().dedup_id(own).build());
        assert_eq!(own("1", "a"), own("2", "a"));
        assert_ne!(own("1", "a"), own("1", "b"));
        assert_ne!(own("1", "a"), recent.fingerprint(&message("1")));
    }
}
