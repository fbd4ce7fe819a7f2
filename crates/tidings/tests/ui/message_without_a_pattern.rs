use tidings::{Handlers, Message};

async fn handle(_: Message) {}

fn main() {
    let _: Handlers = Handlers::new().on(handle);
}
