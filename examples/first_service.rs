//! The first service in twenty lines: it greets every user that is created.
//!
//! `cargo run -p examples --bin first-service`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use serde::{Deserialize, Serialize};
use tidings::{Event, Failure, Handlers, Service};

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "user.created", key = "id")]
struct UserCreated {
    id: String,
    name: String,
}

async fn welcome(user: UserCreated) -> Result<(), Failure> {
    println!("welcome, {}", user.name); // an error is a failed attempt, retried with back-off
    Ok(())
}

#[tokio::main]
async fn main() -> tidings::Result<()> {
    Service::init("greeter", env!("CARGO_PKG_VERSION"))?.handlers(Handlers::new().on(welcome)).run().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_testing::TestService;

    #[tokio::test]
    async fn every_new_user_is_welcomed() {
        let service = TestService::start(Handlers::new().on(welcome)).await.unwrap();
        service.publish(&UserCreated { id: "7".into(), name: "Ada".into() }).await.unwrap();
        assert_eq!(service.handled::<UserCreated>().await.unwrap().name, "Ada");
    }
}
