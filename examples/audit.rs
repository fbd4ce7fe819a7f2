//! Writes down whatever happens to users, also what nobody has thought of yet: a pattern of topics, and messages as they came.
//!
//! `cargo run -p examples --bin audit`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use tidings::{Handlers, Message, Service};

async fn write_down(message: Message) {
    println!("{} from {}: {} bytes, {}", message.topic(), message.source(), message.body().len(), message.id());
}

#[tokio::main]
async fn main() -> tidings::Result<()> {
    Service::init("audit", env!("CARGO_PKG_VERSION"))?.handlers(Handlers::new().on_topic("user.>", write_down)).run().await
}
