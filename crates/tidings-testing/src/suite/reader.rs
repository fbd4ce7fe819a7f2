//! What cases, and a broker's own tests, do with a broker: messages made in one line, subscriptions read in one line.
//!
//! Nothing here is kinder than the framework is: no publish is tried again, and every wait has a deadline.

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tidings_core::{
    Broker, Delivery, Fetch, Fetched, GroupName, Key, Members, Message, Outcome, Receipt, Settle, Source, Start, Subscription,
    Topic, TopicPattern,
};

/// Longer than anything takes on a busy machine; a case that waits so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The two halves of a subscription, with what a case does with them.
pub struct Reader {
    /// The half that brings deliveries.
    pub fetch: Box<dyn Fetch>,
    /// The half that settles them.
    pub settle: Arc<dyn Settle>,
    /// The receipts that the broker has called lost so far.
    pub lost: Vec<Receipt>,
    /// The receipts that were to be ended soon, since another instance joined: they are the case's still.
    pub leaving: Vec<Receipt>,
}

impl Reader {
    /// The next deliveries, at most `max`.
    ///
    /// # Panics
    /// When none comes, the fetch fails, or there are more than `max`.
    #[track_caller]
    pub fn next(&mut self, max: usize) -> impl Future<Output = Vec<Delivery>> {
        within(self.next_without_deadline(max))
    }

    /// [`Reader::next`], for who is cancelled from outside.
    ///
    /// # Panics
    /// When the fetch fails, or there are more than `max`.
    pub async fn next_without_deadline(&mut self, max: usize) -> Vec<Delivery> {
        loop {
            match self.fetch.fetch(max).await.unwrap() {
                Fetched::Deliveries(deliveries) => {
                    let count = deliveries.len();
                    assert!(count <= max, "a fetch for {max} brought {count}");
                    assert!(count > 0, "a fetch brought nothing");
                    return deliveries;
                }
                Fetched::Lost(receipts) => self.lost.extend(receipts),
                Fetched::Leaving(receipts) => self.leaving.extend(receipts),
            }
        }
    }

    /// Exactly that many deliveries, unsettled.
    ///
    /// # Panics
    /// As [`Reader::next`].
    #[track_caller]
    pub fn take(&mut self, count: usize) -> impl Future<Output = Vec<Delivery>> {
        let asked = Location::caller();
        async move {
            let mut taken = Vec::new();
            while taken.len() < count {
                taken.extend(within_from(asked, self.next_without_deadline(count - taken.len())).await);
            }
            taken
        }
    }

    /// The bodies of that many deliveries, which it acknowledges as they come.
    ///
    /// # Panics
    /// As [`Reader::next`].
    #[track_caller]
    pub fn read(&mut self, count: usize) -> impl Future<Output = Vec<String>> {
        let asked = Location::caller();
        async move {
            let mut read = Vec::new();
            while read.len() < count {
                let next = within_from(asked, self.next_without_deadline(count - read.len())).await;
                self.end(&next, Outcome::Ack).await;
                read.extend(bodies(&next));
            }
            read
        }
    }

    /// Settles deliveries, all with one outcome.
    ///
    /// # Panics
    /// When it fails.
    pub async fn end(&mut self, deliveries: &[Delivery], outcome: Outcome) {
        let batch: Vec<_> = deliveries.iter().map(|delivery| (delivery.receipt, outcome)).collect();
        within(self.settle.settle(&batch)).await.unwrap();
    }

    /// Nothing more comes, shown by a message that is published now and is the next.
    ///
    /// # Panics
    /// When something else comes.
    pub async fn is_drained(&mut self, broker: &dyn Broker, topic: &str) {
        let last = message(topic, "the last");
        publish(broker, std::slice::from_ref(&last)).await;
        let next = self.take(1).await;
        assert_eq!(next[0].message, last, "a message came that should not have");
        self.end(&next, Outcome::Ack).await;
    }

    /// Nothing comes for a while, which is all that there is to show that something is not there.
    ///
    /// # Panics
    /// When something comes.
    pub async fn brings_nothing(&mut self, max: usize, patience: Duration) {
        let came = tokio::time::timeout(patience, self.next_without_deadline(max)).await;
        assert!(came.is_err(), "nothing was to come: {came:?}");
    }

    /// Leaves in order.
    ///
    /// # Panics
    /// When it fails.
    pub async fn close(self) {
        within(self.fetch.close()).await.unwrap();
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("lost", &self.lost).finish_non_exhaustive()
    }
}

/// A subscription of a group's instance, from now on.
///
/// # Panics
/// When a name is not allowed.
#[must_use]
pub fn subscription(group: &str, pattern: &str) -> Subscription {
    Subscription {
        group: GroupName::new(group).unwrap(),
        pattern: TopicPattern::new(pattern).unwrap(),
        members: Members::Share,
        start: Some(Start::Now),
        unsettled: 4_352,
    }
}

/// Subscribes.
///
/// # Panics
/// When it fails.
pub async fn subscribe_with(broker: &dyn Broker, subscription: Subscription) -> Reader {
    let (fetch, settle) = within(broker.subscribe(subscription)).await.unwrap();
    Reader { fetch, settle, lost: Vec::new(), leaving: Vec::new() }
}

/// Subscribes with [`subscription`].
///
/// # Panics
/// When it fails.
pub async fn subscribe(broker: &dyn Broker, group: &str, pattern: &str) -> Reader {
    subscribe_with(broker, subscription(group, pattern)).await
}

/// Publishes once, and waits until the server has it.
///
/// # Panics
/// When a message is not taken.
pub async fn publish(broker: &dyn Broker, batch: &[Message]) {
    within(broker.publish(batch)).await.unwrap();
    within(broker.flush()).await.unwrap();
}

thread_local! {
    /// How long the cases of this thread's runtime wait.
    pub(super) static PATIENCE: Cell<Duration> = const { Cell::new(DEADLINE) };
}

/// What the future answers, in time.
///
/// # Panics
/// After [`DEADLINE`], or the patience of a case's engine.
#[track_caller]
pub fn within<T>(future: impl Future<Output = T>) -> impl Future<Output = T> {
    within_from(Location::caller(), future)
}

/// A case that failed is read at the line that waited, not here.
async fn within_from<T>(asked: &Location<'_>, future: impl Future<Output = T>) -> T {
    let patience = PATIENCE.get();
    let answered = tokio::time::timeout(patience, future).await;
    answered.unwrap_or_else(|_| panic!("{asked} waited for {patience:?} in vain"))
}

/// A message without a key.
///
/// # Panics
/// When the topic is not allowed.
#[must_use]
pub fn message(topic: &str, body: &str) -> Message {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Message::builder(Topic::new(topic).unwrap(), Source::new("/case").unwrap(), body).build()
}

/// A message with a key.
///
/// # Panics
/// When a name is not allowed.
#[must_use]
pub fn keyed(topic: &str, key: &str, body: &str) -> Message {
    message(topic, body).into_builder().key(Key::new(key).unwrap()).build()
}

/// Messages with the bodies `0`, `1`, …
#[must_use]
pub fn numbered(topic: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(topic, &n.to_string())).collect()
}

/// A delivery's body as text.
#[must_use]
pub fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.message.body()).into_owned()
}

/// The bodies of deliveries as texts.
#[must_use]
pub fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

/// The bodies of [`numbered`] messages, those before `to` from `from` on.
#[must_use]
pub fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

/// The numbers of [`numbered`] messages, each once.
///
/// # Panics
/// When a body is no number.
#[must_use]
pub fn as_set(bodies: &[String]) -> BTreeSet<usize> {
    bodies.iter().map(|body| body.parse().unwrap()).collect()
}

/// A number that nobody else in this process gets.
#[must_use]
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
