//! A broker that is away, refuses, or breaks: nothing is lost, and one message stops no other.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use tidings_core::{BoxFuture, BrokerError, Capabilities, Health, Link, PublishError, PublishFailures, Subscribed};

use super::*;

/// What a broker does wrong, at a moment that a test chooses; it keeps what it was given.
#[derive(Default)]
pub(super) struct Faulty {
    given: Mutex<Vec<u32>>,
    /// Publishes from now on that fail for a while.
    failing: AtomicUsize,
    /// A message that is refused for good.
    refused: Option<u32>,
    link: AtomicU64,
    /// Publishes from now on during which the connection breaks.
    breaking: AtomicUsize,
    down: std::sync::atomic::AtomicBool,
}

impl Faulty {
    pub(super) fn given(&self) -> Vec<u32> {
        self.given.lock().unwrap().clone()
    }
}

fn counted_down(counter: &AtomicUsize) -> bool {
    counter.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Broker for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            if counted_down(&self.failing) {
                return Err(PublishFailures::all(batch.len(), || PublishError::Unavailable("away".into())));
            }
            if counted_down(&self.breaking) {
                self.link.fetch_add(1, Ordering::SeqCst);
                return Ok(());
            }
            let mut failed = Vec::new();
            for (place, message) in batch.iter().enumerate() {
                let number = number(message);
                if Some(number) == self.refused {
                    failed.push((place, PublishError::Refused("never".into())));
                } else {
                    self.given.lock().unwrap().push(number);
                }
            }
            PublishFailures::check(failed)
        })
    }
    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        Box::pin(async { Ok(Link(self.link.load(Ordering::SeqCst))) })
    }
    fn subscribe(&self, _: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async { Err(BrokerError::Closed { broker: "faulty" }) })
    }
    fn health(&self) -> Health {
        if self.down.load(Ordering::SeqCst) { Health::Down("away".into()) } else { Health::Up }
    }
    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async { Ok(()) })
    }
}

fn relay(bench: &Bench, broker: &Arc<Faulty>) -> Running {
    let broker: Arc<dyn Broker> = Arc::<Faulty>::clone(broker);
    bench.relay(&broker)
}

#[tokio::test]
async fn a_message_that_is_refused_for_good_is_put_aside_and_stops_no_other() {
    for bench in Bench::all().await {
        let broker = Arc::new(Faulty { refused: Some(2), ..Faulty::default() });
        let events: Vec<_> = (1..=3).map(|number| Noted { key: Some("k"), number }).collect();
        bench.publish(&events).await;
        let running = relay(&bench, &broker);
        bench.until_empty().await;
        assert_eq!(broker.given(), [1, 3]);
        assert_eq!(bench.count("tidings_outbox_rejected WHERE error LIKE '%refused: never%'").await, 1);
        assert_eq!(bench.metrics.rejected.get(), 1);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_failed_publish_is_repeated_and_its_key_keeps_its_order() {
    for bench in Bench::all().await {
        let broker = Arc::new(Faulty { failing: AtomicUsize::new(3), ..Faulty::default() });
        let events: Vec<_> = (0..100).map(|number| Noted { key: Some("k"), number }).collect();
        bench.publish(&events).await;
        let running = relay(&bench, &broker);
        bench.until_empty().await;
        assert_eq!(broker.given(), (0..100).collect::<Vec<_>>());
        running.stop().await;
    }
}

#[tokio::test]
async fn what_was_on_its_way_when_the_connection_broke_is_sent_again() {
    for bench in Bench::all().await {
        let broker = Arc::new(Faulty { breaking: AtomicUsize::new(2), ..Faulty::default() });
        bench.publish(&[noted(1), noted(2)]).await;
        let running = relay(&bench, &broker);
        bench.until_empty().await;
        assert_eq!(broker.given(), [1, 2]);
        running.stop().await;
    }
}

#[tokio::test]
async fn nothing_is_sent_while_the_broker_is_away_and_at_once_when_it_is_back() {
    for bench in Bench::all().await {
        let broker = Arc::new(Faulty { down: true.into(), ..Faulty::default() });
        let running = relay(&bench, &broker);
        bench.publish(&[noted(1)]).await;
        until("the backlog is counted", async || bench.metrics.pending.get() == 1).await;
        assert!(broker.given().is_empty());
        broker.down.store(false, Ordering::SeqCst);
        bench.until_empty().await;
        assert_eq!(broker.given(), [1]);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_broker_that_is_away() {
    for bench in Bench::all().await {
        let broker = Arc::new(Faulty { down: true.into(), ..Faulty::default() });
        let running = relay(&bench, &broker);
        bench.publish(&[noted(1)]).await;
        running.stop().await;
        assert_eq!(bench.count("tidings_outbox").await, 1);
    }
}
