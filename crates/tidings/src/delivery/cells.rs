//! The allocations that messages in hand lie in, used again and again.

use std::{mem, sync::Arc};

use bytes::Bytes;
use tidings_core::{Headers, Message};

use crate::handlers::{Delivered, Place};

/// Cells for messages of one subscription; a message costs no allocation once there are as many as are in hand at a time.
#[derive(Debug)]
pub(super) struct Cells {
    place: Arc<Place>,
    spare: Vec<Arc<Delivered>>,
    /// What lies in the spare cells while they are spare, so that no body is kept alive in one. They change places, since to
    /// clone one for each message would cost as much as the message.
    hollow: Vec<Message>,
    most: usize,
}

impl Cells {
    /// Keeps at most `most` spare ones.
    pub(super) fn new(place: Arc<Place>, most: usize) -> Self {
        Self { place, spare: Vec::new(), hollow: Vec::new(), most }
    }

    pub(super) fn fill(&mut self, message: Message) -> Arc<Delivered> {
        if let Some(mut cell) = self.spare.pop()
            && let Some(delivered) = Arc::get_mut(&mut cell)
        {
            self.hollow.push(mem::replace(&mut delivered.message, message));
            return cell;
        }
        Arc::new(Delivered { message, place: Arc::clone(&self.place) })
    }

    /// Takes a cell back, unless some attempt still holds it: a handler may have kept its [`Meta`](crate::Meta).
    pub(super) fn empty(&mut self, mut cell: Arc<Delivered>) {
        if self.spare.len() < self.most
            && let Some(delivered) = Arc::get_mut(&mut cell)
        {
            delivered.message = self.hollow.pop().unwrap_or_else(|| hollow(&delivered.message));
            self.spare.push(cell);
        }
    }
}

/// A message without anything that takes room.
fn hollow(message: &Message) -> Message {
    let builder = message.clone().into_builder();
    builder.body(Bytes::new()).headers(Headers::new()).key(None).trace(None).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Publisher, Source, handlers::SubscriptionName};

    #[test]
    fn a_cell_is_used_again_unless_somebody_kept_it_and_keeps_no_body_alive() {
        let publisher = Publisher::new(crate::delivery::tests::broker(), Source::new("/s").unwrap());
        let subscription = SubscriptionName { group: "g".parse().unwrap(), pattern: "t".parse().unwrap() };
        let mut cells = Cells::new(Arc::new(Place::new(subscription, publisher)), 2);
        let body = Bytes::from(vec![7; 100]);
        let message = || Message::builder("t".parse().unwrap(), Source::new("/s").unwrap(), body.clone()).build();
        for _ in 0..3 {
            let cell = cells.fill(message());
            let place = Arc::as_ptr(&cell);
            cells.empty(cell);
            assert!(body.is_unique());
            let again = cells.fill(message());
            assert_eq!(Arc::as_ptr(&again), place);
            let kept = Arc::clone(&again);
            cells.empty(again);
            assert_eq!(kept.message.body(), &body);
        }
    }
}
