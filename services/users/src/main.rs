//! The program `users`: the user-service, or a call to one that runs.

use users::client::{Call, ClientError};

#[tokio::main]
async fn main() -> tidings::Result<()> {
    let builder = users::builder();
    let builder = match Call::offer(builder.command()).try_get_matches() {
        Ok(matches) => match Call::asked(&matches) {
            Some(call) => return Ok(call.run().await?),
            None => builder.matches(matches),
        },
        Err(said) if !said.use_stderr() => said.exit(),
        Err(mistake) if Call::is_asked(std::env::args()) => return Err(ClientError::arguments(&mistake).into()),
        // The service says in its own words what is wrong with its settings.
        Err(_) => builder,
    };
    users::assemble(builder.init()?).await?.run().await
}
