//! Events that are published with a delay: held back by a broker that can, refused before anything is written where it cannot.

use std::time::Instant;

use tidings_core::PublishError;

use super::{faults::Faulty, *};
use crate::{Publish, Publisher};

const DELAY: Duration = Duration::from_millis(400);

fn delayed(number: u32) -> Publish<Noted> {
    Publish::one(Noted { key: Some("k"), number }).delay(DELAY)
}

impl Bench {
    async fn send(&self, events: &Publish<Noted>) -> Result<(), PublishError> {
        let mut tx = Tx::begin(&self.database).await;
        match &mut tx {
            Tx::Sqlite(tx) => self.outbox.send(tx, events).await?,
            #[cfg(feature = "postgres")]
            Tx::Postgres(tx) => self.outbox.send(tx, events).await?,
        }
        tx.commit().await;
        Ok(())
    }
}

#[tokio::test]
async fn a_delayed_event_is_held_back_by_the_broker_and_stops_no_other_of_its_key() {
    for bench in Bench::all().await {
        let (broker, mut received) = broker().await;
        let relay = bench.relay(&broker);
        let begun = Instant::now();
        bench.send(&delayed(1).header("tenant", "acme")).await.unwrap();
        let at_once = Publish::one(Noted { key: Some("k"), number: 2 });
        // A header of whatever name delays nothing.
        bench.send(&at_once.header("tidings-due", "9999-01-01T00:00:00Z").delay(Duration::ZERO)).await.unwrap();
        assert_eq!(received.numbers(1).await, [2]);
        // The outbox has nothing to do with the waiting.
        bench.until_empty().await;
        let came = received.take(1).await.remove(0);
        assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
        assert_eq!((number(&came), came.headers().len(), came.headers().get("tenant")), (1, 1, Some("acme")));
        relay.stop().await;
    }
}

#[tokio::test]
async fn where_the_broker_cannot_the_publisher_is_told_and_nothing_is_written_or_sent() {
    let bench = Bench::sqlite().await;
    let faulty = Arc::<Faulty>::default();
    let broker: Arc<dyn Broker> = faulty.clone();
    let relay = bench.relay(&broker);
    let refused = bench.send(&delayed(1)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Unsupported { broker: "faulty", .. }), "{refused}");
    assert_eq!(bench.count("tidings_outbox").await, 0);
    let publisher = Publisher::new(broker, Source::new("/users").unwrap());
    let refused = publisher.send(&delayed(2)).await.unwrap_err();
    assert!(matches!(refused, PublishError::Unsupported { .. }), "{refused}");
    publisher.publish(&noted(3)).await.unwrap();
    assert_eq!(faulty.given(), [3]);
    relay.stop().await;
}

#[tokio::test]
async fn a_row_that_was_written_for_another_broker_is_put_aside_and_stops_no_other() {
    let bench = Bench::sqlite().await;
    // Which broker it goes to is not known before there is a relay.
    bench.send(&delayed(1)).await.unwrap();
    bench.publish(&[Noted { key: Some("k"), number: 2 }]).await;
    let faulty = Arc::<Faulty>::default();
    let broker: Arc<dyn Broker> = faulty.clone();
    let relay = bench.relay(&broker);
    bench.until_empty().await;
    assert_eq!(faulty.given(), [2]);
    assert_eq!(bench.count("tidings_outbox_rejected").await, 1);
    relay.stop().await;
}
