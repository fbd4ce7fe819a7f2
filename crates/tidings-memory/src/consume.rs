//! The two halves of a subscription.

use std::sync::Arc;

use tidings_core::{BoxFuture, BrokerError, Fetch, Fetched, Outcome, Receipt, Settle};
use tokio::{
    task::coop::consume_budget,
    time::{Instant, timeout_at},
};

use crate::{
    broker::Opening,
    hub::{Hub, Seat},
    queue::{Settled, Until},
};

/// The half that takes deliveries; its end puts what is unsettled back.
#[derive(Debug)]
pub(crate) struct Fetcher {
    pub(crate) hub: Arc<Hub>,
    pub(crate) opening: Arc<Opening>,
    pub(crate) seat: Seat,
}

impl Fetch for Fetcher {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(async move {
            consume_budget().await;
            loop {
                // Made before looking: a bell that rings in between is heard.
                let (news, room) = (self.seat.news.notified(), self.seat.room.notified());
                let taken = self.hub.take(&self.seat, max).ok_or(BrokerError::Closed { broker: crate::NAME })?;
                if !taken.deliveries.is_empty() {
                    return Ok(Fetched::Deliveries(taken.deliveries));
                }
                match taken.until {
                    Until::Room => room.await,
                    Until::News(None) => news.await,
                    Until::News(Some(due)) => {
                        // Woken or due: either way there is something to look for.
                        let _ = timeout_at(due, news).await;
                    }
                }
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            drop(self);
            Ok(())
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.hub.leave(&self.seat);
        self.opening.forget(self.seat.member);
    }
}

/// The half that settles.
#[derive(Debug)]
pub(crate) struct Settler {
    pub(crate) hub: Arc<Hub>,
    pub(crate) opening: Arc<Opening>,
}

impl Settle for Settler {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.opening.check()?;
            self.hub.settle(batch);
            Ok(())
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            self.opening.check()?;
            Ok(self.hub.lost(batch))
        })
    }

    fn lease(&self) -> Option<std::time::Duration> {
        None
    }
}

impl Hub {
    fn settle(&self, batch: &[(Receipt, Outcome)]) {
        let mut state = self.lock();
        let mut room = false;
        // Receipts of one batch are of one subscription; should they not be, each still wakes its own.
        for part in batch.chunk_by(|(a, _), (b, _)| a.0[0] == b.0[0]) {
            let Some(line) = part.first().and_then(|(receipt, _)| place(receipt)).and_then(|place| state.lines.get_mut(place))
            else {
                continue;
            };
            let mut settled = Settled::default();
            for (Receipt([_, slot, claim]), outcome) in part {
                if let Ok(slot) = usize::try_from(*slot) {
                    line.queue.settle(slot, *claim, *outcome, &mut settled, Instant::now);
                }
            }
            if settled.again {
                line.announce_to_all();
            }
            room |= settled.room;
        }
        if room && std::mem::take(&mut state.crowded) {
            self.room.notify_waiters();
        }
    }

    fn lost(&self, batch: &[Receipt]) -> Vec<Receipt> {
        let state = self.lock();
        let holds = |receipt: &Receipt| {
            let line = place(receipt).and_then(|place| state.lines.get(place));
            line.zip(usize::try_from(receipt.0[1]).ok()).is_some_and(|(line, slot)| line.queue.holds(slot, receipt.0[2]))
        };
        batch.iter().filter(|receipt| !holds(receipt)).copied().collect()
    }
}

fn place(receipt: &Receipt) -> Option<usize> {
    usize::try_from(receipt.0[0]).ok()
}
