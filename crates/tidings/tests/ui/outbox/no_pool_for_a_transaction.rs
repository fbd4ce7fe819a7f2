//! A transaction is begun on a pool of the state.

use tidings::{Handlers, Tx};

#[derive(tidings::Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "order.placed")]
struct Placed {}

#[derive(Clone)]
struct Mailer;

async fn book(_: Placed, _tx: Tx<sqlx::Sqlite>) {}

fn main() {
    let _: Handlers = Handlers::new().on(book).with_state(Mailer);
}
