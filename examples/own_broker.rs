//! A broker plug-in of one's own: `--broker list:` keeps messages in lists, in this process.
//!
//! It shows what a plug-in owes: responsibility for what it took, groups that share, delivery again of what was not settled.
//! `cargo run -p examples --bin own-broker`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings::{Event, Handlers, Service};
use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Delay, Delivery, Fetch, Fetched, GroupName, Health, KeyOrder, Link, Message,
    Outcome, PublishError, PublishFailures, Receipt, Settle, Subscribed, Subscription, TopicPattern,
};
use tokio::sync::Notify;

/// What a group and pattern have: messages that wait with their failed attempts, and messages in hand by number.
#[derive(Default)]
struct List {
    waiting: VecDeque<(Message, u32)>,
    in_hand: HashMap<u64, (Message, u32)>,
    last: u64,
}

#[derive(Default)]
struct Shared {
    list: Mutex<List>,
    filled: Notify,
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, List> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, message: Message, attempts: u32) {
        self.list().waiting.push_back((message, attempts));
        self.filled.notify_one();
    }
}

#[derive(Default)]
struct Lists(Mutex<HashMap<(GroupName, TopicPattern), Arc<Shared>>>);

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
            let mut failed = Vec::new();
            let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (place, message) in batch.iter().enumerate() {
                let (topic, size, limit) = (message.topic(), message.size(), self.capabilities().max_message);
                if size > limit {
                    failed.push((place, PublishError::TooLarge { topic: topic.to_string(), size, limit }));
                    continue;
                }
                for (_, list) in lists.iter().filter(|((_, pattern), _)| pattern.matches(topic)) {
                    list.put(message.clone(), 0);
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
            let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let list = Arc::clone(lists.entry((subscription.group, subscription.pattern)).or_default());
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
                // With no room there is nothing to wait for here: no lease ends, no member comes.
                if max == 0 {
                    std::future::pending::<()>().await;
                }
                let taken: Vec<Delivery> = {
                    let list = &mut *self.0.list();
                    let count = max.min(list.waiting.len());
                    list.waiting
                        .drain(..count)
                        .map(|(message, attempts)| {
                            list.last += 1;
                            list.in_hand.insert(list.last, (message.clone(), attempts));
                            Delivery { message, attempts, receipt: Receipt([list.last, 0, 0]), deliveries: None }
                        })
                        .collect()
                };
                if !taken.is_empty() {
                    return Ok(Fetched::Deliveries(taken));
                }
                self.0.filled.notified().await;
            }
        })
    }

    /// What is still in hand goes back to the front, in order.
    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            let list = &mut *self.0.list();
            let mut left: Vec<_> = list.in_hand.drain().collect();
            left.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
            left.into_iter().for_each(|(_, one)| list.waiting.push_front(one));
            Ok(())
        })
    }
}

impl Settle for Half {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            for (Receipt([number, ..]), outcome) in batch {
                let Some((message, had)) = self.0.list().in_hand.remove(number) else { continue };
                let (after, attempts) = match outcome {
                    Outcome::Ack | Outcome::Reject => continue,
                    Outcome::HandBack => (Duration::ZERO, had),
                    Outcome::Retry { after, attempts } => (*after, *attempts),
                };
                let list = Arc::clone(&self.0);
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    list.put(message, attempts);
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

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "greeted")]
struct Greeted {
    name: String,
}

async fn greet(greeted: Greeted) {
    println!("hello, {}", greeted.name);
}

#[tokio::main]
async fn main() -> tidings::Result<()> {
    let service = Service::builder("greeter", env!("CARGO_PKG_VERSION"))
        .scheme("list", async |_url, _client| Ok(Arc::new(Lists::default()) as Arc<dyn Broker>))
        .default("broker", "list:")
        .init()?;
    let publisher = service.publisher().await?;
    service
        .handlers(Handlers::new().on(greet))
        .task("greeting", async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                publisher.publish(&Greeted { name: "list".to_owned() }).await?;
            }
            #[expect(unreachable_code, reason = "says what an error is here")]
            Ok::<(), tidings::PublishError>(())
        })
        .run()
        .await
}
