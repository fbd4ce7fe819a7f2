//! The settling half of a subscription on JetStream: what became of a delivery, and that it is still in hand.

use std::{sync::Arc, time::Duration};

use tidings_core::{BoxFuture, BrokerError, Outcome, Receipt, Settle};
use tokio::{sync::Notify, time::Instant};

use super::{
    consumer::LEASE,
    held::{Held, Word},
};
use crate::connect::{ANSWER, Connection, within};

/// What a subscription has in hand.
pub(super) struct Hand {
    pub(super) held: Held,
    /// Tells the fetching half that something was handed back.
    back: Notify,
    connection: Arc<Connection>,
}

impl Hand {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { held: Held::default(), back: Notify::new(), connection }
    }

    /// Waits until something was handed back.
    pub(super) async fn handed_back(&self) {
        self.back.notified().await;
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
            let words = self.held.settle(batch);
            if words.len() < batch.len() {
                self.back.notify_one();
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
                self.held.extended(batch, now + LEASE);
            }
            Ok(lost)
        })
    }

    fn lease(&self) -> Option<Duration> {
        Some(LEASE)
    }
}

pub(super) fn closed() -> BrokerError {
    BrokerError::Closed { broker: "jetstream" }
}
