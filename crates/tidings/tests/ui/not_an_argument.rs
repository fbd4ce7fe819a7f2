use tidings::{Event, Handlers};

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {}

struct Mail;

async fn handle(_: UserCreated, _: Mail) {}

fn main() {
    let _: Handlers = Handlers::new().on(handle);
}
