//! Settling outcomes in batches: as many as are there.

use std::{sync::Arc, time::Duration};

use tidings_core::{Outcome, Receipt, Settle};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{Event, leases::Held};

/// Outcomes of one turn of the loop.
pub(super) type Outcomes = Vec<(Receipt, Outcome)>;

/// How long to wait before a batch is settled again that the engine could not take.
const BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(2);

/// Settles what comes until nothing comes any more; a task of its own, so that no handler and no fetch keeps it.
///
/// While one batch is being settled the next gathers, so that a slow engine gets large batches and a fast one is not waited
/// for. An engine that cannot be reached is tried again until `hurry`: what is not settled then comes again.
pub(super) async fn settle_all(
    settle: Arc<dyn Settle>,
    held: Held,
    mut outcomes: UnboundedReceiver<Outcomes>,
    events: UnboundedSender<Event>,
    hurry: CancellationToken,
) {
    const TURNS: usize = 64;
    let mut turns = Vec::with_capacity(TURNS);
    while outcomes.recv_many(&mut turns, TURNS).await > 0 {
        let mut turns = turns.drain(..);
        let mut batch = turns.next().unwrap_or_default();
        turns.for_each(|mut turn| batch.append(&mut turn));
        settle_batch(&*settle, &batch, &hurry).await;
        held.release(batch.iter().map(|(receipt, _)| *receipt));
        // The loop has ended when nobody hears it; what it handed over before is settled all the same.
        let _ = events.send(Event::Settled(batch.len()));
    }
}

async fn settle_batch(settle: &dyn Settle, batch: &[(Receipt, Outcome)], hurry: &CancellationToken) {
    let mut wait = BACK_OFF;
    while let Err(error) = settle.settle(batch).await {
        let (again, count) = (error.is_transient() && !hurry.is_cancelled(), batch.len());
        let error = crate::error::chain(&error);
        if !again {
            tracing::warn!(error, count, "outcomes could not be settled: their messages come again");
            return;
        }
        tracing::warn!(error, count, "outcomes could not be settled; trying again");
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(LONGEST_BACK_OFF),
            () = hurry.cancelled() => {}
        }
    }
}

#[cfg(test)]
mod simulation;
