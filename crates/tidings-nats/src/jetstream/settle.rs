//! The settling half of a subscription on JetStream: what became of a delivery, and that it is still in hand.

use std::{sync::Arc, time::Duration};

use tidings_core::{BoxFuture, BrokerError, Outcome, Receipt, Settle};
use tokio::{sync::Notify, time::Instant};

use super::{
    consumer::OURS,
    held::{Held, Word},
};
use crate::connect::{ANSWER, Connection, within};

/// What a subscription has in hand.
pub(super) struct Hand {
    pub(super) held: Held,
    /// The most that may be in hand.
    most: usize,
    /// Tells the fetching half that something was handed back, or that there is room again.
    room: Notify,
    connection: Arc<Connection>,
}

impl Hand {
    pub(super) fn new(connection: Arc<Connection>, most: usize) -> Self {
        Self { held: Held::default(), most, room: Notify::new(), connection }
    }

    /// How many more may be in hand.
    pub(super) fn room(&self) -> usize {
        self.most.saturating_sub(self.held.len())
    }

    /// Waits until something was handed back, or there is room again.
    pub(super) async fn has_room(&self) {
        self.room.notified().await;
    }

    async fn tell(&self, words: Vec<Word>) -> Result<(), BrokerError> {
        for (reply, word) in words {
            match within(ANSWER, self.connection.client.publish(reply, word)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(closed()),
                Err(late) => return Err(self.connection.unavailable(late)),
            }
        }
        Ok(())
    }
}

impl Settle for Hand {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.connection.is_closed() {
                return Err(closed());
            }
            let full = self.room() == 0;
            let words = self.held.settle(batch, Instant::now());
            if full || words.len() < batch.len() {
                self.room.notify_one();
            }
            self.tell(words).await
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            if self.connection.is_closed() {
                return Err(closed());
            }
            let now = Instant::now();
            let (words, lost) = self.held.extend(batch, now);
            // The server confirms nothing; what cannot even be sent extends nothing.
            if self.connection.is_up() && self.tell(words).await.is_ok() {
                self.held.extended(batch, now + OURS);
            }
            Ok(lost)
        })
    }

    fn lease(&self) -> Option<Duration> {
        Some(OURS)
    }
}

pub(super) fn closed() -> BrokerError {
    BrokerError::Closed { broker: "jetstream" }
}
