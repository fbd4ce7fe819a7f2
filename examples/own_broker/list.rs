//! The plug-in, whole: it keeps messages in lists, in this process.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::{mem, sync::Arc, time::Duration};
use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Delay, Delivery, Fetch, Fetched, GroupName, Health, KeyOrder, Link, Message,
    Outcome, PublishError, PublishFailures, Receipt, Settle, Subscribed, Subscription, TopicPattern,
};
use tokio::sync::{Mutex, Notify};

/// What a group and pattern have: messages that wait with their failed attempts, and messages in hand by number.
#[derive(Default)]
struct List {
    waiting: VecDeque<(Message, u32)>,
    in_hand: BTreeMap<u64, (Message, u32)>,
    last: u64,
}

fn take(list: &mut List, max: usize) -> Vec<Delivery> {
    let deliver = |(message, attempts): (Message, u32)| {
        list.last += 1;
        list.in_hand.insert(list.last, (message.clone(), attempts));
        Delivery { message, attempts, receipt: Receipt([list.last, 0, 0]), deliveries: None }
    };
    list.waiting.drain(..max.min(list.waiting.len())).map(deliver).collect()
}

#[derive(Default)]
struct Shared {
    list: Mutex<List>,
    filled: Notify,
}

impl Shared {
    async fn put(&self, message: Message, attempts: u32) {
        self.list.lock().await.waiting.push_back((message, attempts));
        self.filled.notify_waiters();
    }
}

#[derive(Default)]
pub(crate) struct Lists(Mutex<HashMap<(GroupName, TopicPattern), Arc<Shared>>>);

impl Broker for Lists {
    fn name(&self) -> &'static str {
        "list"
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::default();
        (can.groups, can.wildcards, can.attempt_counts) = (true, true, true);
        (can.delay, can.key_order) = (Delay::Native, KeyOrder::Instance);
        can
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            let (lists, limit) = (self.0.lock().await, self.capabilities().max_message);
            let mut failed = Vec::new();
            for (place, message) in batch.iter().enumerate() {
                let (topic, size) = (message.topic(), message.size());
                if size > limit {
                    failed.push((place, PublishError::TooLarge { topic: topic.to_string(), size, limit }));
                    continue;
                }
                for (_, list) in lists.iter().filter(|((_, pattern), _)| pattern.matches(topic)) {
                    list.put(message.clone(), 0).await;
                }
            }
            PublishFailures::check(failed)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        Box::pin(async { Ok(Link(0)) })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            let list = Arc::clone(self.0.lock().await.entry((subscription.group, subscription.pattern)).or_default());
            Ok::<Subscribed, _>((Box::new(Half(Arc::clone(&list))), Arc::new(Half(list))))
        })
    }

    fn health(&self) -> Health {
        Health::Up
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async { Ok(()) })
    }
}

struct Half(Arc<Shared>);

impl Fetch for Half {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(async move {
            loop {
                // Before the look: what comes after it is heard then.
                let filled = self.0.filled.notified();
                let taken = take(&mut *self.0.list.lock().await, max);
                if !taken.is_empty() {
                    return Ok(Fetched::Deliveries(taken));
                }
                filled.await;
            }
        })
    }

    /// What is still in hand goes back to the front, in order.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            let list = &mut *self.0.list.lock().await;
            mem::take(&mut list.in_hand).into_values().rev().for_each(|one| list.waiting.push_front(one));
            Ok(())
        })
    }
}

impl Settle for Half {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            for (Receipt([number, ..]), outcome) in batch {
                let Some((message, had)) = self.0.list.lock().await.in_hand.remove(number) else { continue };
                let (after, attempts) = match outcome {
                    Outcome::Ack | Outcome::Reject => continue,
                    Outcome::HandBack => (Duration::ZERO, had),
                    Outcome::Retry { after, attempts } => (*after, *attempts),
                };
                let list = Arc::clone(&self.0);
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    list.put(message, attempts).await;
                });
            }
            Ok(())
        })
    }

    fn extend<'a>(&'a self, _: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn lease(&self) -> Option<Duration> {
        None
    }
}
