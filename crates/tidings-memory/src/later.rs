//! Messages that are held back until they are due. Nobody waits for them but whoever fetches: they are published by the first
//! call that finds them due.

use std::{collections::BTreeMap, time::Duration};

use tidings_core::Message;
use tokio::time::Instant;

use crate::Settings;

#[derive(Debug, Default)]
pub(crate) struct Later {
    /// With their sizes, by when they are due, then as they were published.
    waiting: BTreeMap<(Instant, u64), (Message, usize)>,
    bytes: usize,
    count: u64,
}

impl Later {
    /// As long as servers keep messages by default. What is for later than that is better kept in a table of the program's own.
    pub(crate) const LONGEST: Duration = Duration::from_hours(7 * 24);

    /// Whether there is no room; what waits is bounded as one subscription is.
    pub(crate) fn is_full(&self, size: usize, settings: &Settings) -> bool {
        !self.waiting.is_empty() && (self.waiting.len() >= settings.max_messages || self.bytes + size > settings.max_bytes)
    }

    /// Holds a message back; answers whether it is the next.
    pub(crate) fn put(&mut self, message: Message, size: usize, due: Instant) -> bool {
        let next = self.next().is_none_or(|next| due < next);
        self.count += 1;
        self.bytes += size;
        self.waiting.insert((due, self.count), (message, size));
        next
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next one that is due by then, and its size.
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<(Message, usize)> {
        let next = self.waiting.first_entry().filter(|next| next.key().0 <= now)?;
        let (message, size) = next.remove();
        self.bytes -= size;
        Some((message, size))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_core::{Source, Topic};

    use super::*;

    #[test]
    fn what_waits_comes_when_it_is_due_and_in_the_order_of_publishing() {
        let (mut later, begun) = (Later::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        let message = |body: &'static str| {
            Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), Bytes::from_static(body.as_bytes())).build()
        };
        assert!(later.put(message("b"), 1, at(2)));
        assert!(!later.put(message("c"), 1, at(2)));
        assert!(later.put(message("a"), 1, at(1)));
        assert_eq!(later.next(), Some(at(1)));
        let settings = Settings { max_messages: 3, ..Settings::default() };
        assert!(later.is_full(1, &settings));
        assert!(later.take_due(begun).is_none());
        let all: Vec<_> = std::iter::from_fn(|| later.take_due(at(2))).map(|(message, _)| message.body().clone()).collect();
        assert_eq!(all, ["a", "b", "c"]);
        assert!(later.next().is_none() && !later.is_full(1, &settings));
    }
}
