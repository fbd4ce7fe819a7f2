use tidings::{Event, outbox::Outbox};

#[derive(Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created")]
struct UserCreated {}

async fn create(pool: sqlx::PgPool, outbox: Outbox) -> tidings::Result<()> {
    let mut connection = pool.acquire().await?;
    outbox.publish(&mut connection, &UserCreated {}).await?;
    Ok(())
}

fn main() {}
