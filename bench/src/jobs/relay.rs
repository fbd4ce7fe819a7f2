//! How fast the relay empties an outbox on Postgres into JetStream, against publishing as many messages from memory.

use anyhow::{Result, anyhow};
use tidings::{Service, database::Database, settings::Group};
use tokio::time::Instant;

use super::{
    Comparison, On, Window,
    core::open,
    outbox::{event, outbox},
    sent::{body, message, names, rate},
    variant,
};

const ROWS: usize = 100_000;

pub(super) fn all() -> Vec<Comparison> {
    vec![Comparison {
        name: "relay drain",
        about: "100,000 rows of an outbox on Postgres, to JetStream, until the last is deleted; the raw one publishes them from memory.",
        unit: "messages/s",
        ground: On::PostgresAndJetStream,
        current_thread: false,
        variants: vec![variant!("publish from memory", memory), variant!("relay" >= 0.7, relay)],
    }]
}

fn places(window: &Window) -> Result<(String, String)> {
    let (database, nats) = window.place.split_once(' ').ok_or_else(|| anyhow!("a database and a server"))?;
    let stream = format!("S{}", uuid::Uuid::new_v4().simple());
    Ok((database.to_owned(), format!("{}/{stream}?max_bytes=8GiB", nats.replacen("nats://", "jetstream://", 1))))
}

async fn memory(window: Window) -> Result<f64> {
    use futures_util::{StreamExt as _, TryStreamExt as _};

    let (_, broker) = places(&window)?;
    let broker = open(&broker).await?;
    let (topic, source) = names()?;
    let body = body(128);
    let begun = Instant::now();
    futures_util::stream::iter(0..ROWS / 256)
        .map(|_| {
            let (broker, batch) = (&broker, (0..256).map(|_| message(&topic, &source, &body)).collect::<Vec<_>>());
            async move { broker.publish(&batch).await }
        })
        .buffer_unordered(4)
        .try_collect::<Vec<()>>()
        .await?;
    Ok(rate((ROWS / 256 * 256) as u64, begun))
}

async fn relay(window: Window) -> Result<f64> {
    let (url, broker) = places(&window)?;
    let (_idle, database, outbox) = outbox(&url, 4).await?;
    let Database::Postgres(pool) = database else { return Err(anyhow!("not of Postgres")) };
    for _ in 0..ROWS / 1000 {
        let mut tx = pool.begin().await?;
        let events: Vec<_> = std::iter::repeat_with(event).take(1000).collect();
        outbox.publish_all(&mut tx, &events).await?;
        tx.commit().await?;
    }
    let last: i64 = sqlx::query_scalar("SELECT max(seq) FROM tidings_outbox").fetch_one(&pool).await?;
    let failed = |error: tidings::Error| anyhow!("{error}");
    let service = Service::builder("bench", "0")
        .without(Group::Grpc)
        .arguments(["bench", "--database", &url, "--broker", &broker, "--log", "warn"])
        .environment::<&str, &str>([])
        .init()
        .map_err(failed)?;
    let database = service.database().await.map_err(failed)?;
    let _outbox = service.outbox(&database).await.map_err(failed)?;
    let begun = Instant::now();
    let running = service.start().await.map_err(failed)?;
    // By its number at first: a search for any row at all reads through all that were deleted.
    gone(&pool, "SELECT 1 FROM tidings_outbox WHERE service = 'bench' AND seq = $1", last).await?;
    gone(&pool, "SELECT 1 FROM tidings_outbox WHERE service = 'bench' AND seq <= $1 LIMIT 1", last).await?;
    let rate = rate(ROWS as u64, begun);
    let _ = running.stop().await;
    Ok(rate)
}

async fn gone(pool: &sqlx::PgPool, row: &'static str, last: i64) -> Result<()> {
    while sqlx::query(row).bind(last).fetch_optional(pool).await?.is_some() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(())
}
