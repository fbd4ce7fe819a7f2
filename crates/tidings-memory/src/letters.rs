//! The dead letters, kept to be looked at.

use std::collections::VecDeque;

use tidings_core::Message;

/// The newest dead letters: 1,000, or 64 MiB.
#[derive(Debug, Default)]
pub(crate) struct Letters {
    kept: VecDeque<Message>,
    bytes: usize,
}

impl Letters {
    const MAX: usize = 1_000;
    const MAX_BYTES: usize = 64 * 1024 * 1024;

    pub(crate) fn push(&mut self, letter: Message) {
        self.bytes += letter.size();
        self.kept.push_back(letter);
        while self.kept.len() > Self::MAX || self.bytes > Self::MAX_BYTES {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.bytes -= oldest.size();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Message> {
        self.kept.iter()
    }
}
