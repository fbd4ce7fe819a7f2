use tidings::{Event, Handlers};
use tidings::{Service, State};

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {}

#[derive(Clone)]
struct Mailer;

async fn handle(_: UserCreated, _: State<Mailer>) {}

fn add(service: Service) -> Service {
    service.handlers(Handlers::new().on(handle))
}

fn main() {}
