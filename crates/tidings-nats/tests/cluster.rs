//! `jetstream://` on a cluster of three nodes, whose leader dies while messages flow both ways.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper, too, stops its test")]

#[path = "nats/common.rs"]
#[allow(dead_code, reason = "the tests on one server use the rest")]
mod common;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{Reader, body, message, open, to};
use tidings_core::{Broker, Key, Message};
use tidings_testing::servers::{NatsCluster, eventually};
use tokio::{sync::watch, time::timeout};

const STREAM: &str = "TIDINGS";
const MESSAGES: usize = 20_000;
const KEYS: usize = 1_000;
/// What is in hand at once. The rest waits at the server.
const IN_HAND: usize = 256;
/// How long a settlement may be on its way from the subscriber to two of the three.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
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
    /// Settlements that the broker could not send: what they were of comes again.
    unsettled: usize,
}

impl Seen {
    /// Handles and acknowledges what comes until each message has come.
    async fn all(reader: &mut Reader, handled: watch::Sender<usize>) -> Self {
        let (mut messages, mut unsettled) = (Vec::new(), 0);
        let mut missing = vec![true; MESSAGES];
        let mut left = MESSAGES;
        while left > 0 {
            let batch = reader.fetch(IN_HAND).await;
            for delivery in &batch {
                let number: usize = body(&delivery.message).parse().unwrap();
                left -= usize::from(std::mem::take(&mut missing[number]));
                messages.push((number, Instant::now()));
            }
            let settled = batch.iter().map(|delivery| (delivery.receipt, tidings_core::Outcome::Ack)).collect::<Vec<_>>();
            if reader.settle.settle(&settled).await.is_err() {
                unsettled += batch.len();
            }
            handled.send_replace(MESSAGES - left);
        }
        Self { messages, unsettled }
    }

    fn doubled(&self) -> usize {
        self.messages.len() - MESSAGES
    }

    /// The first sight of each message comes after those of its key before it. What comes again was handled when the leader died
    /// or after that: its settlement was on its way, and the next leader does not know of it.
    fn assert_order(&self, killed: Instant) {
        let mut next: HashMap<usize, usize> = HashMap::new();
        let mut first: HashMap<usize, Instant> = HashMap::new();
        for (number, at) in &self.messages {
            let due = next.entry(number % KEYS).or_insert(number % KEYS);
            assert!(number <= due, "{number} came before {due} of its key");
            if number == due {
                *due += KEYS;
                first.insert(*number, *at);
            } else {
                let before = killed.saturating_duration_since(first[number]);
                assert!(before < ON_ITS_WAY, "{number} came again, handled {before:?} before the kill");
            }
        }
    }
}

/// Kills the stream's leader when `sent` and `handled` show that messages flow, and starts it again when there is another.
/// Answers when it was killed, and a line about it.
async fn kill_the_leader(
    cluster: &mut NatsCluster,
    mut sent: watch::Receiver<usize>,
    mut handled: watch::Receiver<usize>,
) -> (Instant, String) {
    sent.wait_for(|sent| *sent >= MESSAGES / 4).await.unwrap();
    handled.wait_for(|handled| *handled >= MESSAGES / 10).await.unwrap();
    let leader = cluster.leader_of(STREAM).await;
    cluster.kill(leader);
    let killed = Instant::now();
    assert!(*sent.borrow() < MESSAGES, "all was sent before the kill");
    let found = format!("killed at {} sent and {} handled", *sent.borrow(), *handled.borrow());
    let next = cluster.leader_of(STREAM).await;
    let line = format!("{found}, another led after {:?}", killed.elapsed());
    assert_ne!(next, leader);
    cluster.start_again(leader).await;
    (killed, line)
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
    let (again, seen, (killed, line)) = timeout(IN_TIME, flow).await.expect("all messages in time");
    println!(
        "{line}, all was handled {:?} after the kill; {again} were sent again, {} came again, {} not \
         settled",
        killed.elapsed(),
        seen.doubled(),
        seen.unsettled
    );
    seen.assert_order(killed);
}
