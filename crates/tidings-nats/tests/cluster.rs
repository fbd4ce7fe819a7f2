//! `jetstream://` on a cluster of three nodes, whose leader dies while messages flow both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper, too, stops its test")]

#[path = "nats/common.rs"]
#[allow(dead_code, reason = "the tests on one server use the rest")]
mod common;

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Reader, body, message, open, to};
use tidings_core::{Broker, Delivery, Fetched, Key, Message, Outcome};
use tidings_testing::servers::{NatsCluster, eventually};
use tokio::{
    sync::watch,
    time::{timeout, timeout_at},
};

const STREAM: &str = "TIDINGS";
const MESSAGES: usize = 20_000;
const KEYS: usize = 1_000;
/// What is in hand at once. The rest waits at the server.
const IN_HAND: usize = 256;
/// How long a settlement may be on its way from the subscriber to two of the three.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
/// What a lease kept away comes so soon after its end.
const SOON: Duration = Duration::from_secs(3);
/// With an election, and a lease that runs out behind it.
const IN_TIME: Duration = Duration::from_secs(120);

/// The messages in the order of their numbers, which are their bodies.
fn all() -> Vec<Message> {
    let keyed = |number: usize| {
        let key = Key::new(&format!("k{}", number % KEYS)).unwrap();
        message("a.b", number.to_string()).into_builder().key(key).build()
    };
    (0..MESSAGES).map(keyed).collect()
}

/// Publishes them batch after batch, one message of each key, until every message of it is acknowledged. So does the relay: a
/// message goes only when those of its key before it are stored. Answers how many had to be sent again.
async fn publish_all(broker: Arc<dyn Broker>, messages: Vec<Message>, sent: watch::Sender<usize>) -> usize {
    let mut again = 0;
    for batch in messages.chunks(KEYS) {
        let mut left = batch.to_vec();
        eventually(IN_TIME, async || {
            let Err(failures) = broker.publish(&left).await else { return true };
            let failed = failures.into_failed();
            assert!(failed.iter().all(|(_, error)| error.is_transient()), "{failed:?}");
            again += failed.len();
            left = failed.into_iter().map(|(place, _)| left[place].clone()).collect();
            false
        })
        .await;
        sent.send_modify(|sent| *sent += batch.len());
    }
    again
}

/// What the subscriber saw, in its order, and when.
struct Seen {
    messages: Vec<(usize, Instant)>,
    /// Those whose settlement could not be sent: they come again.
    unsettled: BTreeSet<usize>,
}

impl Seen {
    /// Handles and acknowledges what comes until each message has come, and then what comes when its lease has ended.
    async fn all(reader: &mut Reader, handled: watch::Sender<usize>) -> Self {
        let mut seen = Self { messages: Vec::new(), unsettled: BTreeSet::new() };
        let mut missing: BTreeSet<_> = (0..MESSAGES).collect();
        while !missing.is_empty() {
            let batch = reader.fetch(IN_HAND).await;
            for number in seen.handle(reader, &batch).await {
                missing.remove(&number);
            }
            handled.send_replace(MESSAGES - missing.len());
        }
        let late = tokio::time::Instant::now() + reader.settle.lease().expect("a lease") + SOON;
        while let Ok(fetched) = timeout_at(late, reader.fetch.fetch(IN_HAND)).await {
            if let Fetched::Deliveries(batch) = fetched.unwrap() {
                seen.handle(reader, &batch).await;
            }
        }
        seen
    }

    async fn handle(&mut self, reader: &Reader, batch: &[Delivery]) -> Vec<usize> {
        let numbers: Vec<usize> = batch.iter().map(|delivery| body(&delivery.message).parse().unwrap()).collect();
        self.messages.extend(numbers.iter().map(|number| (*number, Instant::now())));
        let settled: Vec<_> = batch.iter().map(|delivery| (delivery.receipt, Outcome::Ack)).collect();
        if reader.settle.settle(&settled).await.is_err() {
            self.unsettled.extend(&numbers);
        }
        numbers
    }

    fn doubled(&self) -> usize {
        self.messages.len() - MESSAGES
    }

    /// The first sight of each message comes after those of its key before it. What comes again was handled when its settlement
    /// could get lost, or not settled. Answers how many these are, which no more come again than.
    fn assert_order(&self, lossy: &Range<Instant>) -> usize {
        let mut next: HashMap<usize, usize> = HashMap::new();
        let mut last: HashMap<usize, Instant> = HashMap::new();
        let may_come = |number: &usize, at: &Instant| lossy.contains(at) || self.unsettled.contains(number);
        let mut explained = 0;
        for (number, at) in &self.messages {
            let due = next.entry(number % KEYS).or_insert(number % KEYS);
            assert!(number <= due, "{number} came before {due} of its key");
            match last.insert(*number, *at) {
                Some(before) => assert!(may_come(number, &before), "{number} came again, {}", told(before, lossy)),
                None => {
                    *due += KEYS;
                    explained += usize::from(may_come(number, at));
                }
            }
        }
        assert!(self.doubled() <= explained, "{} came again, and {explained} may", self.doubled());
        explained
    }
}

fn told(handled: Instant, lossy: &Range<Instant>) -> String {
    let (before, after) = (lossy.start.saturating_duration_since(handled), handled.saturating_duration_since(lossy.end));
    format!("handled {before:?} before or {after:?} after what is handled could get lost")
}

/// Kills the stream's leader when `sent` and `handled` show that messages flow, and starts it again when there is another.
/// Answers when settlements could get lost, and a line about it.
async fn kill_the_leader(
    cluster: &mut NatsCluster,
    mut sent: watch::Receiver<usize>,
    mut handled: watch::Receiver<usize>,
) -> (Range<Instant>, String) {
    sent.wait_for(|sent| *sent >= MESSAGES / 2).await.unwrap();
    handled.wait_for(|handled| *handled >= MESSAGES / 4).await.unwrap();
    let leader = cluster.leader_of(STREAM).await;
    cluster.kill(leader);
    let killed = Instant::now();
    assert!(*sent.borrow() < MESSAGES, "all was sent before the kill");
    let found = format!("killed at {} sent and {} handled", *sent.borrow(), *handled.borrow());
    let next = cluster.leader_of(STREAM).await;
    let led = Instant::now();
    assert_ne!(next, leader);
    cluster.start_again(leader).await;
    (killed - ON_ITS_WAY..led + ON_ITS_WAY, format!("{found}, another led after {:?}", led - killed))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_when_the_leader_is_killed_while_messages_flow() {
    let Some(mut cluster) = NatsCluster::start().await else { return };
    let url = format!("{}&replicas=3", cluster.jetstream_url());
    let (publisher, subscriber) = (open(&url).await, open(&url).await);
    let mut reader = Reader::new(&subscriber, to("mail", "a.b")).await;
    let ((sent, is_sent), (handled, is_handled)) = (watch::channel(0), watch::channel(0));
    let flow = async {
        tokio::join!(
            publish_all(publisher, all(), sent),
            Seen::all(&mut reader, handled),
            kill_the_leader(&mut cluster, is_sent, is_handled)
        )
    };
    let (again, seen, (lossy, line)) = timeout(IN_TIME, flow).await.expect("all messages in time");
    let explained = seen.assert_order(&lossy);
    println!(
        "{line}; {again} were sent again, {} came again of {explained} that may, {} not settled",
        seen.doubled(),
        seen.unsettled.len()
    );
}
