//! The two halves of a subscription.

use std::{sync::Arc, time::Duration};

use tidings_core::{BoxFuture, BrokerError, Fetch, Fetched, Outcome, Receipt, Settle};
use tokio::sync::oneshot;

use super::{
    desk::{Command, Desk, closed},
    join::Leaving,
    member::{Found, Member},
    settle::SettleJob,
};

/// The half that takes deliveries; its end puts what is unsettled back.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) desk: Desk,
    pub(super) member: Arc<Member>,
}

/// A fetch that waits; it asks for nothing any more when it is given up.
struct Waiting<'a>(&'a Member);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.withdraw();
    }
}

impl Fetch for Fetcher {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(async move {
            let _waiting = Waiting(&self.member);
            loop {
                let news = self.member.news();
                match self.member.find(max) {
                    Found::Deliveries(deliveries) => return Ok(Fetched::Deliveries(deliveries)),
                    Found::Lost(receipts) => return Ok(Fetched::Lost(receipts)),
                    Found::End => return Err(closed()),
                    Found::Nothing => {
                        if max > 0 {
                            self.desk.wake();
                        }
                        news.await;
                    }
                }
            }
        })
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            self.desk.leave(Leaving { member: Arc::clone(&self.member), reply: Some(reply) });
            // No answer: the broker is closed, and took everything back then.
            answer.await.unwrap_or(Ok(()))
        })
    }
}

impl Drop for Fetcher {
    fn drop(&mut self) {
        self.desk.leave(Leaving { member: Arc::clone(&self.member), reply: None });
    }
}

/// The half that settles.
#[derive(Debug)]
pub(super) struct Settler {
    pub(super) desk: Desk,
    pub(super) member: Arc<Member>,
}

impl Settle for Settler {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if batch.is_empty() {
                return self.desk.check();
            }
            let (reply, answer) = oneshot::channel();
            let job = SettleJob { member: Arc::clone(&self.member), outcomes: batch.to_vec(), now: super::now(), reply };
            self.desk.send(Command::Settle(job)).await?;
            answer.await.unwrap_or(Err(closed()))
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async move {
            self.desk.check()?;
            Ok(batch.iter().filter(|receipt| !self.member.holds(receipt)).copied().collect())
        })
    }

    fn lease(&self) -> Option<Duration> {
        None
    }
}
