//! What came for one subscription and was not fetched. The server sends unasked, and the client bounds by number alone what waits in
//! it, whatever its size: so what nobody has room for, and what may have become much, is taken from it, and bounded here in bytes.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use crate::connect::Connection;

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

/// What is taken from the client in one go, before others have their turn.
pub(super) const TURN: usize = 1_024;

/// A subscription at the client, and what was taken from it already.
pub(super) struct Waiting {
    connection: Arc<Connection>,
    subscriber: Subscriber,
    queue: Queue,
    /// What the client had read when nothing of it was left there: not more than what it has read since can be.
    read_when_empty: u64,
}

impl Waiting {
    pub(super) fn new(connection: Arc<Connection>, subscriber: Subscriber, bounds: Bounds) -> Self {
        let read_when_empty = connection.bytes_read();
        Self { connection, subscriber, queue: Queue::new(bounds), read_when_empty }
    }

    /// The next message; `None` when the subscription has ended.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        match self.queue.take() {
            Some(message) => Poll::Ready(Some(message)),
            None => self.poll_client(cx),
        }
    }

    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<Option<Message>> {
        let next = self.subscriber.poll_next_unpin(cx);
        if next.is_pending() {
            self.read_when_empty = self.connection.bytes_read();
        }
        next
    }

    /// Whether so much may wait in the client that it is to be taken in.
    pub(super) fn may_be_much(&self) -> bool {
        let most = self.connection.bytes_read().saturating_sub(self.read_when_empty);
        most > self.queue.bounds.bytes as u64 / 4
    }

    /// Takes in what came though nobody has room for it; what goes over the bounds is counted, and gone. Has itself polled again
    /// when more comes.
    pub(super) fn take_in(&mut self, cx: &mut Context<'_>) {
        let mut dropped = 0;
        for _ in 0..TURN {
            match self.poll_client(cx) {
                Poll::Ready(Some(message)) => dropped += u64::from(!self.queue.admit(message)),
                // Whoever has room is told of the end, behind what waits.
                Poll::Ready(None) | Poll::Pending => return self.connection.count_dropped(dropped),
            }
        }
        self.connection.count_dropped(dropped);
        cx.waker().wake_by_ref();
    }

    /// Ends the subscription, for who is to unsubscribe, and tells how many messages waited.
    pub(super) fn end(self) -> (Subscriber, usize) {
        (self.subscriber, self.queue.messages.len())
    }
}

/// Messages in the order in which they came.
struct Queue {
    messages: VecDeque<Message>,
    bytes: usize,
    bounds: Bounds,
}

impl Queue {
    const fn new(bounds: Bounds) -> Self {
        Self { messages: VecDeque::new(), bytes: 0, bounds }
    }

    /// Takes a message, unless it goes over the bounds; one that is larger than they are can wait alone.
    fn admit(&mut self, mut message: Message) -> bool {
        let more = message.length;
        if !self.messages.is_empty() && !self.has_room(more) {
            return false;
        }
        // A slice of what the client read at once, other subscriptions' messages too: all of that would stay with it.
        message.payload = Bytes::copy_from_slice(&message.payload);
        self.bytes += more;
        self.messages.push_back(message);
        true
    }

    fn has_room(&self, more: usize) -> bool {
        self.messages.len() < self.bounds.messages && self.bytes + more <= self.bounds.bytes
    }

    fn take(&mut self) -> Option<Message> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.length;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: usize) -> Message {
        let payload = Bytes::from(vec![0; length]);
        Message { subject: "a.b".into(), reply: None, payload, headers: None, status: None, description: None, length }
    }

    fn queue(messages: usize, bytes: usize) -> Queue {
        Queue::new(Bounds { messages, bytes })
    }

    fn lengths(queue: &mut Queue) -> Vec<usize> {
        std::iter::from_fn(|| queue.take()).map(|message| message.length).collect()
    }

    #[test]
    fn no_more_waits_than_the_bounds_say() {
        let mut queue = queue(3, 100);
        let admitted = [40, 40, 40, 20, 1].map(|length| queue.admit(message(length)));
        assert_eq!(admitted, [true, true, false, true, false]);
        assert!(queue.take().is_some() && queue.take().is_some());
        assert_eq!(queue.bytes, 20);
        assert!(queue.admit(message(80)) && !queue.admit(message(1)));
        assert_eq!(lengths(&mut queue), [20, 80]);
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn a_message_that_is_larger_than_the_bound_waits_alone() {
        let mut queue = queue(3, 100);
        assert!(queue.admit(message(101)) && !queue.admit(message(1)));
        assert!(queue.take().is_some());
        assert!(queue.admit(message(1)) && !queue.admit(message(101)));
    }

    #[test]
    fn what_waits_keeps_no_more_than_itself() {
        let mut queue = queue(10, usize::MAX);
        let read = Bytes::from(vec![0; 64 * 1024]);
        assert!(queue.admit(Message { payload: read.slice(..10), ..message(10) }));
        assert!(read.is_unique());
    }
}
