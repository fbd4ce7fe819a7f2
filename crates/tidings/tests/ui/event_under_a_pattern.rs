use tidings::{Event, Handlers};

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {}

async fn handle(_: UserCreated) {}

fn main() {
    let _: Handlers = Handlers::new().on_topic("user.>", handle);
}
