//! A stock that goes down once for each order, however often the order comes, and says so when it runs out.
//!
//! `cargo run -p examples --bin handled-once`, then end it with Ctrl-C; `cargo test -p examples --bin handled-once` tests it.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use sqlx::{Sqlite, SqlitePool};
use tidings::{
    Event, Failure, Handlers, Publish, Reject, Service, Tx,
    database::{Database, Migrations},
};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "order.placed", key = "item")]
struct OrderPlaced {
    item: String,
    count: i64,
}

#[derive(Debug, PartialEq, Event, Serialize, Deserialize)]
#[event(topic = "stock.ran-low", key = "item")]
struct StockRanLow {
    item: String,
    left: i64,
}

const TABLES: Migrations = Migrations {
    component: "stock",
    sqlite: &["CREATE TABLE stock (item TEXT PRIMARY KEY, count INTEGER NOT NULL);
               INSERT INTO stock VALUES ('kite', 12)"],
    postgres: &[],
};

/// The write, the event that follows from it and "handled" commit together, or nothing of it has happened.
async fn take(order: OrderPlaced, mut tx: Tx<Sqlite>) -> Result<Option<Publish<StockRanLow>>, Failure> {
    const TAKE: &str = "UPDATE stock SET count = count - $2 WHERE item = $1 AND count >= $2 RETURNING count";
    let left: Option<i64> = sqlx::query_scalar(TAKE).bind(&order.item).bind(order.count).fetch_optional(&mut *tx).await?;
    let left = left.ok_or("there are not so many").reject()?; // no other attempt will help
    println!("{} of {} taken, {left} left", order.count, order.item);
    Ok((left < 10).then(|| Publish::one(StockRanLow { item: order.item, left })))
}

async fn reorder(low: StockRanLow) {
    println!("only {} of {} left: ordering more", low.left, low.item);
}

fn handlers(db: SqlitePool) -> Handlers {
    Handlers::new().on(take).on(reorder).with_state(db)
}

#[tokio::main]
async fn main() -> tidings::Result<()> {
    let service = Service::init("stock", env!("CARGO_PKG_VERSION"))?;
    let database = service.database().await?;
    database.migrate(&TABLES).await?;
    let Database::Sqlite(db) = database else { return Err("this example writes SQLite's SQL alone".into()) };

    let publisher = service.publisher().await?;
    let running = service.handlers(handlers(db)).start().await?;
    publisher.publish(&OrderPlaced { item: "kite".into(), count: 3 }).await?;
    let _ = tokio::signal::ctrl_c().await;
    running.stop().await
}

#[cfg(test)]
mod tests {
    use tidings::database::DatabaseOptions;
    use tidings_testing::TestService;

    use super::*;

    #[tokio::test]
    async fn an_order_takes_its_items_and_what_is_low_is_announced() {
        let database = Database::open("sqlite::memory:", &DatabaseOptions::default(), |_| {}).await.unwrap();
        database.migrate(&TABLES).await.unwrap();
        let Database::Sqlite(db) = database else { unreachable!() };
        let service = TestService::start(handlers(db)).await.unwrap();

        for count in [2, 3, 8] {
            service.publish(&OrderPlaced { item: "kite".into(), count }).await.unwrap();
        }
        assert_eq!(service.handled::<StockRanLow>().await.unwrap(), StockRanLow { item: "kite".into(), left: 7 });
        // Seven are left, and eight were asked for.
        let letter = service.dead_letter::<OrderPlaced>().await.unwrap();
        assert_eq!((letter.reason(), letter.attempts()), ("rejected", 1));
        assert_eq!(service.published::<StockRanLow>().unwrap().len(), 1);
    }
}
