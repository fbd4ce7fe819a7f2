//! Failed attempts of messages that are back at a broker which cannot count them.

use std::{
    collections::{HashMap, VecDeque},
    time::SystemTime,
};

use tidings_core::{Message, MessageId, Source};

/// What is known of a message that was here before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tried {
    pub(super) failures: u32,
    pub(super) first_attempt: Option<SystemTime>,
}

/// A bounded memory: without it the count would begin anew each time, and no limit would ever be reached.
#[derive(Debug, Default)]
pub(super) struct Tries {
    known: HashMap<Identity, (u64, Tried)>,
    /// The oldest first; some have come again since.
    order: VecDeque<(Identity, u64)>,
    /// Tells one stay at the broker from the next.
    stays: u64,
}

type Identity = (Source, MessageId);

impl Tries {
    /// The most messages that are remembered.
    const MOST: usize = 16_384;

    /// Takes out what is known of a message that has come again.
    pub(super) fn recall(&mut self, message: &Message) -> Option<Tried> {
        if self.known.is_empty() {
            return None;
        }
        self.known.remove(&identity(message)).map(|(_, tried)| tried)
    }

    pub(super) fn remember(&mut self, message: &Message, tried: Tried) {
        self.stays += 1;
        self.known.insert(identity(message), (self.stays, tried));
        self.order.push_back((identity(message), self.stays));
        while self.order.len() > Self::MOST {
            let Some((oldest, stay)) = self.order.pop_front() else { break };
            if self.known.get(&oldest).is_some_and(|(known, _)| *known == stay) {
                self.known.remove(&oldest);
            }
        }
    }
}

fn identity(message: &Message) -> Identity {
    (message.source().clone(), message.id().clone())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_core::Topic;

    use super::*;

    #[test]
    fn a_message_that_comes_again_and_again_is_not_forgotten_for_that() {
        let message = |n: usize| {
            let id = MessageId::new(&n.to_string()).unwrap();
            Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), Bytes::new()).id(id).build()
        };
        let mut tries = Tries::default();
        for failures in 1..5 {
            for n in 0..Tries::MOST * 3 / 4 {
                let known = tries.recall(&message(n)).map_or(0, |tried| tried.failures);
                assert_eq!(known, failures - 1);
                tries.remember(&message(n), Tried { failures, first_attempt: None });
            }
        }
    }

    #[test]
    fn failures_are_remembered_until_the_message_comes_again_or_too_many_others_did() {
        let message = || Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), Bytes::new()).build();
        let tried = Tried { failures: 3, first_attempt: None };
        let (mut tries, first) = (Tries::default(), message());
        assert_eq!(tries.recall(&first), None);
        tries.remember(&first, tried);
        assert_eq!((tries.recall(&first), tries.recall(&first)), (Some(tried), None));
        tries.remember(&first, tried);
        for _ in 0..Tries::MOST {
            tries.remember(&message(), tried);
        }
        assert_eq!(tries.recall(&first), None);
        assert!(tries.known.len() <= Tries::MOST && tries.order.len() <= Tries::MOST);
    }
}
