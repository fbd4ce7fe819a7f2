//! An order and its event in one transaction: neither without the other, whatever crashes.
//!
//! `cargo run -p examples --bin publish-in-a-transaction`, then end it with Ctrl-C.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use tidings::{
    Event, Handlers, Service,
    database::{Database, Migrations, begin_immediate},
    outbox::Outbox,
};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "order.placed", key = "id")]
struct OrderPlaced {
    id: String,
    item: String,
}

const TABLES: Migrations = Migrations {
    component: "orders",
    sqlite: &["CREATE TABLE orders (id TEXT PRIMARY KEY, item TEXT NOT NULL)"],
    postgres: &["CREATE TABLE orders (id text PRIMARY KEY, item text NOT NULL)"],
};

/// Stores the order and announces it.
async fn place(db: &sqlx::SqlitePool, outbox: &Outbox, order: &OrderPlaced) -> tidings::Result<()> {
    let mut tx = begin_immediate(db).await?;
    sqlx::query("INSERT INTO orders (id, item) VALUES ($1, $2)").bind(&order.id).bind(&order.item).execute(&mut *tx).await?;
    outbox.publish(&mut tx, order).await?;
    tx.commit().await?; // from here on the event cannot be lost
    Ok(())
}

async fn pack(order: OrderPlaced) {
    println!("packing {} of order {}", order.item, order.id);
}

#[tokio::main]
async fn main() -> tidings::Result<()> {
    let service = Service::init("orders", env!("CARGO_PKG_VERSION"))?;
    let database = service.database().await?;
    database.migrate(&TABLES).await?;
    let outbox = service.outbox(&database).await?;
    let Database::Sqlite(db) = database else { return Err("this example writes SQLite's SQL alone".into()) };

    let order = OrderPlaced { id: tidings::MessageId::generate().to_string(), item: "a kite".into() };
    place(&db, &outbox, &order).await?;
    service.handlers(Handlers::new().on(pack)).run().await
}
