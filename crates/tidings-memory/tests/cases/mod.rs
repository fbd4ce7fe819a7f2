//! What every broker that keeps messages has to do, over the bare trait. A broker's crate calls [`broker_cases!`] with a
//! function that makes an [`Engine`]; each case is then a test of its own.
#![allow(unreachable_pub, dead_code, reason = "shared by the tests of several crates, each of which uses a part")]

pub mod closing;
pub mod delivery;
pub mod groups;
pub mod order;
pub mod publishing;
pub mod settling;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tidings_core::{
    BoxFuture, Broker, Delivery, Fetch, Fetched, GroupName, Key, Members, Message, Outcome, Settle, Source, Start, Subscription,
    Topic, TopicPattern,
};

/// Longer than anything takes on a busy machine; a case that waits so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A store that can be opened several times, as instances do.
pub struct Engine {
    open: Box<dyn Fn() -> BoxFuture<'static, Arc<dyn Broker>> + Send + Sync>,
}

impl Engine {
    pub fn new<F>(open: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Arc<dyn Broker>> + Send + 'static,
    {
        Self { open: Box::new(move || Box::pin(open())) }
    }

    pub async fn open(&self) -> Arc<dyn Broker> {
        within((self.open)()).await
    }
}

/// The two halves of a subscription, with what a case does with them.
pub struct Reader {
    pub fetch: Box<dyn Fetch>,
    pub settle: Arc<dyn Settle>,
}

impl Reader {
    /// The next deliveries, at most `max`.
    pub async fn next(&mut self, max: usize) -> Vec<Delivery> {
        match within(self.fetch.fetch(max)).await.unwrap() {
            Fetched::Deliveries(deliveries) => {
                assert!(!deliveries.is_empty() && deliveries.len() <= max);
                deliveries
            }
            other => panic!("{other:?}"),
        }
    }

    /// Exactly that many deliveries, unsettled.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while taken.len() < count {
            taken.extend(self.next(count - taken.len()).await);
        }
        taken
    }

    /// The bodies of that many deliveries, which it acknowledges as they come.
    pub async fn read(&mut self, count: usize) -> Vec<String> {
        let mut read = Vec::new();
        while read.len() < count {
            let next = self.next(count - read.len()).await;
            self.end(&next, Outcome::Ack).await;
            read.extend(bodies(&next));
        }
        read
    }

    pub async fn end(&mut self, deliveries: &[Delivery], outcome: Outcome) {
        let batch: Vec<_> = deliveries.iter().map(|delivery| (delivery.receipt, outcome)).collect();
        within(self.settle.settle(&batch)).await.unwrap();
    }

    /// Whether nothing more comes, shown by a message that is published now and is the next.
    pub async fn is_drained(&mut self, broker: &dyn Broker, topic: &str) {
        let last = message(topic, "the last");
        publish(broker, std::slice::from_ref(&last)).await;
        let next = self.take(1).await;
        assert_eq!(next[0].message, last, "a message came that should not have");
        self.end(&next, Outcome::Ack).await;
    }

    pub async fn close(self) {
        within(self.fetch.close()).await.unwrap();
    }
}

/// A subscription of a group's instance, from now on.
pub fn subscription(group: &str, pattern: &str) -> Subscription {
    Subscription {
        group: GroupName::new(group).unwrap(),
        pattern: TopicPattern::new(pattern).unwrap(),
        members: Members::Share,
        start: Some(Start::Now),
        unsettled: 4_352,
    }
}

pub async fn subscribe_with(broker: &dyn Broker, subscription: Subscription) -> Reader {
    let (fetch, settle) = within(broker.subscribe(subscription)).await.unwrap();
    Reader { fetch, settle }
}

pub async fn subscribe(broker: &dyn Broker, group: &str, pattern: &str) -> Reader {
    subscribe_with(broker, subscription(group, pattern)).await
}

pub async fn publish(broker: &dyn Broker, batch: &[Message]) {
    within(broker.publish(batch)).await.unwrap();
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("it took too long")
}

pub fn message(topic: &str, body: &str) -> Message {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Message::builder(Topic::new(topic).unwrap(), Source::new("/case").unwrap(), body).build()
}

pub fn keyed(topic: &str, key: &str, body: &str) -> Message {
    message(topic, body).into_builder().key(Key::new(key).unwrap()).build()
}

/// Messages with the bodies `0`, `1`, …
pub fn numbered(topic: &str, count: usize) -> Vec<Message> {
    (0..count).map(|n| message(topic, &n.to_string())).collect()
}

pub fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.message.body()).into_owned()
}

pub fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

pub fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|n| n.to_string()).collect()
}

pub fn as_set(bodies: &[String]) -> BTreeSet<usize> {
    bodies.iter().map(|body| body.parse().unwrap()).collect()
}

/// A number that no other case of this process gets.
pub fn unique() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Makes each case a test on the engine that `$engine` answers.
#[macro_export]
macro_rules! broker_cases {
    ($engine:path) => {
        $crate::broker_cases!($engine, publishing:
            what_was_published_arrives_whole
            a_message_of_the_largest_size_arrives_and_a_larger_one_is_named
            exactly_the_messages_that_were_not_taken_are_named
            a_second_publish_is_recognised
            an_event_and_its_dead_letter_share_an_id_and_both_arrive
            publishes_that_were_given_up_leave_nothing_broken
        );
        $crate::broker_cases!($engine, delivery:
            no_more_is_delivered_than_was_asked_for
            no_more_is_unsettled_than_was_allowed
            without_a_settlement_there_is_no_next_one
            what_is_published_right_after_subscribing_by_another_opening_arrives
            a_fetch_for_nothing_brings_nothing
            fetches_that_were_given_up_lose_nothing
            a_fetch_that_was_given_up_takes_nothing_from_the_others
            settling_goes_on_while_a_fetch_waits
        );
        $crate::broker_cases!($engine, groups:
            every_group_gets_everything
            the_instances_of_a_group_share
            a_pattern_gets_its_topics_and_no_others
            many_topics_at_once
            the_patterns_of_a_group_are_apart
            each_instance_gets_everything_and_leaves_nothing_behind
            an_instance_comes_and_one_goes_while_messages_flow
        );
        $crate::broker_cases!($engine, order:
            the_order_of_a_key_holds_under_concurrency
            a_key_in_hand_is_not_given_to_another_instance
            a_hot_key_does_not_keep_the_others_waiting
            the_key_of_an_instance_that_went_away_is_taken_over_in_order
            what_waits_for_the_holder_of_its_key_comes_once
        );
        $crate::broker_cases!($engine, settling:
            a_dropped_subscription_gives_back_what_it_held
            a_retry_comes_again_not_earlier_than_asked
            a_retry_at_once_comes_again_at_once
            attempts_rise_and_handing_back_is_none
            a_waiting_retry_keeps_nothing_else_waiting
            what_was_rejected_is_forgotten
            a_receipt_settles_once_and_a_lost_one_nothing
            what_is_handed_back_comes_again_in_order
        );
        $crate::broker_cases!($engine, closing:
            a_group_goes_on_where_it_left_off
            what_is_published_while_every_instance_is_away_waits
            closing_a_subscription_counts_what_was_settled_and_gives_back_the_rest_in_order
            closing_ends_every_pending_future
            a_closed_broker_refuses_everything
            closing_one_opening_leaves_the_others_alone
            closing_under_load_ends_every_publish
        );
    };
    ($engine:path, $room:ident: $($case:ident)*) => {
        mod $room {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    $crate::cases::$room::$case($engine()).await;
                }
            )*
        }
    };
}
