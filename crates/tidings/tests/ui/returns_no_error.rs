use tidings::{Event, Handlers};

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {}

struct NoError;

async fn handle(_: UserCreated) -> Result<(), NoError> {
    Ok(())
}

fn main() {
    let _: Handlers = Handlers::new().on(handle);
}
