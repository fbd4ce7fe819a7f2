//! One batch on its way: published, and then gone from the outbox.

use std::sync::Arc;

use tidings_core::{Broker, Link, PublishError};

use super::{plan::Taken, store::Store};
use crate::{error::chain, metrics::OutboxMetrics};

/// What became of a batch.
pub(super) struct Sent {
    /// Rows that are no longer in the outbox.
    pub(super) gone: Vec<Taken>,
    /// Rows that are to be read and sent again.
    pub(super) again: Vec<Taken>,
    /// The connection that was last heard of.
    pub(super) link: Option<Link>,
    /// Why rows are sent again.
    pub(super) trouble: Option<String>,
}

/// What a batch needs on its way.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) store: Store,
    pub(super) metrics: OutboxMetrics,
}

impl Sender {
    /// Publishes `batch`; `link` is what the last flush answered before it.
    pub(super) async fn send(self, batch: Vec<Taken>, link: Link) -> Sent {
        let failed = self.publish(&batch).await;
        let flushed = self.broker.flush().await;
        let arrived = matches!(flushed, Ok(now) if now == link);
        let mut sent = Sent { gone: Vec::new(), again: Vec::new(), link: flushed.as_ref().ok().copied(), trouble: None };
        let mut rejected = Vec::new();
        let mut failed = failed.into_iter().peekable();
        for (place, row) in batch.into_iter().enumerate() {
            match failed.next_if(|(at, _)| *at == place) {
                Some((_, error)) if error.is_transient() => {
                    sent.trouble.get_or_insert_with(|| chain(&error));
                    sent.again.push(row);
                }
                Some((_, error)) => {
                    log_rejected(&row, &error);
                    rejected.push((row.seq, error));
                    sent.gone.push(row);
                }
                None if arrived => sent.gone.push(row),
                None => sent.again.push(row),
            }
        }
        if !arrived && sent.trouble.is_none() {
            sent.trouble =
                Some(flushed.err().map_or_else(|| "the connection broke on the way".to_owned(), |error| chain(&error)));
        }
        self.settle(sent, rejected).await
    }

    /// Publishes; answers what the broker did not take, by its place.
    async fn publish(&self, batch: &[Taken]) -> Vec<(usize, PublishError)> {
        let (mut messages, mut places, mut failed) =
            (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()), Vec::new());
        for (place, row) in batch.iter().enumerate() {
            // Written for another broker, or before this one was known, which may not look at when a message is due.
            if row.message.due().is_some()
                && let Err(error) = self.broker.capabilities().check_due(self.broker.name(), &row.message)
            {
                failed.push((place, error));
            } else {
                messages.push(row.message.clone());
                places.push(place);
            }
        }
        if let Err(failures) = self.broker.publish(&messages).await {
            failed.extend(failures.into_failed().into_iter().filter_map(|(at, error)| Some((*places.get(at)?, error))));
            failed.sort_unstable_by_key(|(place, _)| *place);
        }
        failed
    }

    /// A row is gone when the database says so, and not before: else a look would bring it again.
    async fn settle(&self, mut sent: Sent, rejected: Vec<(i64, PublishError)>) -> Sent {
        let refused: Vec<i64> = rejected.iter().map(|(seq, _)| *seq).collect();
        let gone: Vec<i64> = sent.gone.iter().map(|row| row.seq).filter(|seq| !refused.contains(seq)).collect();
        match self.store.settle(&gone, &rejected).await {
            Ok(()) => {
                self.metrics.relayed.inc_by(gone.len() as u64);
                self.metrics.rejected.inc_by(rejected.len() as u64);
            }
            Err(error) => {
                sent.trouble = Some(format!("rows that were sent are still in the outbox: {error}"));
                sent.again.append(&mut sent.gone);
                // `again` wants the first of a key first.
                sent.again.sort_by_key(|row| row.seq);
            }
        }
        sent
    }
}

fn log_rejected(row: &Taken, error: &PublishError) {
    let message = &row.message;
    tracing::error!(
        topic = %message.topic(), id = %message.id(), trace_id = message.trace().map(|trace| tracing::field::display(trace.trace_id())),
        "the broker will never take this event; it is in tidings_outbox_rejected now: {error}"
    );
}
