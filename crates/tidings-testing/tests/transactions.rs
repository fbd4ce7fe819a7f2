//! A handler with a transaction and an outbox under test: a database in memory is all that it needs.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use sqlx::{Sqlite, SqlitePool, sqlite::SqlitePoolOptions};
use tidings::{Event, Failure, Handlers, Publish, Tx};
use tidings_testing::TestService;

#[derive(Debug, Clone, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "order.placed", key = "id")]
struct Placed {
    id: String,
}

#[derive(Debug, Clone, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "order.booked", key = "id")]
struct Booked {
    id: String,
}

async fn book(order: Placed, mut tx: Tx<Sqlite>) -> Result<Publish<Booked>, Failure> {
    sqlx::query("INSERT INTO bookings (id) VALUES ($1)").bind(&order.id).execute(&mut *tx).await?;
    Ok(Publish::one(Booked { id: order.id }))
}

async fn database() -> SqlitePool {
    // One connection: each would have a database of its own.
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::query("CREATE TABLE bookings (id text PRIMARY KEY)").execute(&pool).await.unwrap();
    pool
}

async fn bookings(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM bookings").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn what_a_transaction_wrote_and_published_is_there_to_look_at() {
    let pool = database().await;
    let service = TestService::start(Handlers::new().on(book).on(async |_: Booked| {}).with_state(pool.clone())).await.unwrap();
    service.publish(&Placed { id: "7".into() }).await.unwrap();
    assert_eq!(service.handled::<Booked>().await.unwrap(), Booked { id: "7".into() });
    assert_eq!(service.published::<Booked>().unwrap(), [Booked { id: "7".into() }]);
    assert_eq!(bookings(&pool).await, 1);
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_booking_that_is_there_is_a_dead_letter_that_says_so_and_publishes_nothing() {
    let pool = database().await;
    sqlx::query("INSERT INTO bookings (id) VALUES ('7')").execute(&pool).await.unwrap();
    let service = TestService::start(Handlers::new().on(book).with_state(pool.clone())).await.unwrap();
    service.publish(&Placed { id: "7".into() }).await.unwrap();
    let letter = service.dead_letter::<Placed>().await.unwrap();
    assert!(letter.attempts() == 5 && letter.error().contains("UNIQUE"), "{}", letter.error());
    assert!(service.published::<Booked>().unwrap().is_empty());
    assert_eq!(bookings(&pool).await, 1);
}

#[tokio::test]
async fn a_delay_passes_through_the_outbox_and_counts_from_the_publish() {
    const HOUR: Duration = Duration::from_secs(3_600);
    async fn remind(order: Placed, mut tx: Tx<Sqlite>) -> Result<(), Failure> {
        Ok(tx.send(&Publish::one(Booked { id: order.id }).delay(HOUR)).await?)
    }
    let handlers = Handlers::new().on(remind).on(async |_: Booked| {}).with_state(database().await);
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&Placed { id: "7".into() }).await.unwrap();
    service.handled::<Placed>().await.unwrap();
    // The row may still be on its way to the broker.
    service.advance(HOUR);
    assert_eq!(service.handled::<Booked>().await.unwrap(), Booked { id: "7".into() });
    assert!(service.elapsed() >= HOUR);
}
