//! What the tests of both engines share.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use tidings_core::{
    Broker, BrokerError, Client, Delivery, Fetch, Fetched, GroupName, Members, Message, Outcome, Receipt, Settle, Source, Start,
    Subscription, Topic, TopicPattern, url,
};
use tokio::time::timeout;

/// What must happen happens within this, on a loaded machine too.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn try_open(url: &str) -> Result<Arc<dyn Broker>, BrokerError> {
    let client = Client { service: "tests".into(), instance: "1".into() };
    tidings_nats::open(&url::parse(url)?, &client).await
}

pub(crate) async fn open(url: &str) -> Arc<dyn Broker> {
    try_open(url).await.unwrap()
}

pub(crate) fn message(topic: &str, body: impl Into<Bytes>) -> Message {
    Message::builder(Topic::new(topic).unwrap(), Source::new("/tests").unwrap(), body.into()).build()
}

/// `count` messages of one topic, whose bodies are their numbers.
pub(crate) fn numbered(topic: &str, count: usize) -> Vec<Message> {
    (0..count).map(|number| message(topic, number.to_string())).collect()
}

pub(crate) fn to(group: &str, pattern: &str) -> Subscription {
    Subscription {
        group: GroupName::new(group).unwrap(),
        pattern: TopicPattern::new(pattern).unwrap(),
        members: Members::Share,
        start: None,
        unsettled: 4_352,
    }
}

pub(crate) fn each(pattern: &str) -> Subscription {
    Subscription { members: Members::Each, ..to("each", pattern) }
}

pub(crate) fn from(start: Start, subscription: Subscription) -> Subscription {
    Subscription { start: Some(start), ..subscription }
}

/// A subscription as the framework uses it.
pub(crate) struct Reader {
    pub(crate) fetch: Box<dyn Fetch>,
    pub(crate) settle: Arc<dyn Settle>,
}

impl Reader {
    pub(crate) async fn new(broker: &Arc<dyn Broker>, subscription: Subscription) -> Self {
        let (fetch, settle) = broker.subscribe(subscription).await.unwrap();
        Self { fetch, settle }
    }

    /// The next deliveries, up to `max`.
    pub(crate) async fn fetch(&mut self, max: usize) -> Vec<Delivery> {
        loop {
            match timeout(SOON, self.fetch.fetch(max)).await.expect("a delivery in time").unwrap() {
                Fetched::Deliveries(deliveries) => {
                    assert!(!deliveries.is_empty() && deliveries.len() <= max);
                    return deliveries;
                }
                Fetched::Lost(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn one(&mut self) -> Delivery {
        self.fetch(1).await.remove(0)
    }

    /// So many deliveries, not settled.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.fetch(count - all.len()).await);
        }
        all
    }

    /// So many deliveries, acknowledged.
    pub(crate) async fn handle(&mut self, count: usize) -> Vec<Message> {
        let mut all = Vec::new();
        while all.len() < count {
            let batch = self.fetch(count - all.len()).await;
            self.ack(&batch).await;
            all.extend(batch.into_iter().map(|delivery| delivery.message));
        }
        all
    }

    /// Handles what comes, until all of these bodies were seen; how many came more than once.
    pub(crate) async fn handle_all(&mut self, expected: BTreeSet<String>) -> usize {
        let (mut missing, mut again) = (expected, 0);
        while !missing.is_empty() {
            let batch = self.fetch(256).await;
            again += batch.iter().filter(|delivery| !missing.remove(&body(&delivery.message))).count();
            self.ack(&batch).await;
        }
        again
    }

    pub(crate) async fn ack(&mut self, deliveries: &[Delivery]) {
        self.settle(deliveries, Outcome::Ack).await;
    }

    pub(crate) async fn settle(&mut self, deliveries: &[Delivery], outcome: Outcome) {
        let batch: Vec<(Receipt, Outcome)> = deliveries.iter().map(|delivery| (delivery.receipt, outcome)).collect();
        self.settle.settle(&batch).await.unwrap();
    }

    /// Nothing comes, as far as the server has it by now.
    pub(crate) async fn assert_nothing(&mut self, within: Duration) {
        if let Ok(fetched) = timeout(within, self.fetch.fetch(10)).await {
            panic!("{fetched:?}");
        }
    }

    pub(crate) async fn close(self) {
        timeout(Duration::from_secs(5), self.fetch.close()).await.expect("a close in time").unwrap();
    }
}

pub(crate) fn retry(after: Duration) -> Outcome {
    Outcome::Retry { after, attempts: 1 }
}

pub(crate) fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

pub(crate) fn bodies(messages: &[Message]) -> Vec<String> {
    messages.iter().map(body).collect()
}

/// The message of an error and of all that caused it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
