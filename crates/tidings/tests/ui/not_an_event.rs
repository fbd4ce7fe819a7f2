use tidings::Handlers;

struct NotEvent {}

async fn handle(_: NotEvent) {}

fn main() {
    let _: Handlers = Handlers::new().on(handle);
}
