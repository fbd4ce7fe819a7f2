use tidings::State;
use tidings::{Event, Handlers};

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {}

#[derive(Clone)]
struct Mailer;

async fn handle(_: UserCreated, _: State<Mailer>) {}

fn main() {
    let _: Handlers = Handlers::new().on(handle);
}
