//! What `cargo run` starts: the user-service and the email-service in one process, on SQLite.

use std::path::PathBuf;

use tidings::{
    Service, run_together,
    settings::{Address, Settings, SettingsError},
};

#[tokio::main]
async fn main() -> tidings::Result<()> {
    let [users, email] = Service::init_together([users::builder(), email::builder()])?;
    say_what_to_try(users.settings())?;
    let users = users::assemble(users).await?;
    let email = email::assemble(email).await?;
    run_together([users, email]).await
}

/// The first words are for whoever typed `cargo run`; where everything is, the log says next.
#[expect(clippy::print_stdout, reason = "said to a person, once; the log is for everybody else")]
fn say_what_to_try(settings: &Settings) -> Result<(), SettingsError> {
    let address: Address = settings.get("address")?;
    let elsewhere = match address.to_string() {
        _ if !settings.is_given("address") => String::new(),
        // The system chooses the port when it is listened on: after these words.
        any if any.ends_with(":0") => format!(" --address {}PORT   (PORT is in the line `ready`)", any.trim_end_matches('0')),
        address => format!(" --address {address}"),
    };
    println!(
        "Tidings: the user-service and the email-service in one process; their data is in {}.\n\
         Try it from another terminal; the mail's path appears below:\n\n  \
         echo 'correct horse battery' | cargo run -q -p users -- create --name Ada --email ada@example.com{elsewhere}\n",
        settings.get::<PathBuf>("data")?.display()
    );
    Ok(())
}
