use std::rc::Rc;

use tidings::{Event, Handlers};

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {}

async fn handle(_: UserCreated) {
    let shared = Rc::new(1);
    std::future::ready(()).await;
    drop(shared);
}

fn main() {
    let _: Handlers = Handlers::new().on(handle);
}
