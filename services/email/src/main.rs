//! The program `email`: settings in, mails out, until it is told to stop.

#[tokio::main]
async fn main() -> tidings::Result<()> {
    email::assemble(email::builder().init()?).await?.run().await
}
