//! The allocations that messages in hand lie in, used again and again.

use std::sync::Arc;

use bytes::Bytes;
use tidings_core::{Headers, Message};

use crate::handlers::{Delivered, Place};

/// Cells for messages of one subscription; a message costs no allocation once there are as many as are in hand at a time.
#[derive(Debug)]
pub(super) struct Cells {
    place: Arc<Place>,
    /// What lies in a spare cell, so that no body is kept alive in one.
    nothing: Option<Message>,
    spare: Vec<Arc<Delivered>>,
    most: usize,
}

impl Cells {
    /// Keeps at most `most` spare ones.
    pub(super) fn new(place: Arc<Place>, most: usize) -> Self {
        Self { place, nothing: None, spare: Vec::new(), most }
    }

    pub(super) fn fill(&mut self, message: Message) -> Arc<Delivered> {
        if let Some(mut cell) = self.spare.pop()
            && let Some(delivered) = Arc::get_mut(&mut cell)
        {
            delivered.message = message;
            return cell;
        }
        Arc::new(Delivered { message, place: Arc::clone(&self.place) })
    }

    /// Takes a cell back, unless some attempt still holds it: a handler may have kept its [`Meta`](crate::Meta).
    pub(super) fn empty(&mut self, mut cell: Arc<Delivered>) {
        if self.spare.len() < self.most
            && let Some(delivered) = Arc::get_mut(&mut cell)
        {
            let nothing = self.nothing.get_or_insert_with(|| hollow(&delivered.message));
            delivered.message = nothing.clone();
            self.spare.push(cell);
        }
    }
}

/// A message without anything that takes room.
fn hollow(message: &Message) -> Message {
    let builder = message.clone().into_builder();
    builder.body(Bytes::new()).headers(Headers::new()).key(None).trace(None).build()
}
