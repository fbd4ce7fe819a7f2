//! What the command line may say.

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

use super::{ClientError, calls::Client, secret};

/// A call to make instead of being the service.
#[derive(Debug, Parser)]
#[command(name = "users", version, about = "Calls a running user-service", arg_required_else_help = true)]
pub struct Command {
    #[command(subcommand)]
    call: Call,
    /// Where the service listens.
    #[arg(long, global = true, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    address: String,
}

#[derive(Debug, Subcommand)]
enum Call {
    /// Create a user; prints its id, name, company and e-mail.
    ///
    /// The password is asked for without echo, or read from standard input: one line.
    Create(NewUser),
    /// Print one user.
    ///
    /// Where the service asks for a token, the variable USERS_TOKEN has it.
    Get {
        /// The user's id.
        id: String,
    },
    /// Print all users, in the order of their ids.
    ///
    /// Where the service asks for a token, the variable USERS_TOKEN has it.
    List,
    /// Log in; prints a token.
    ///
    /// The password is asked for without echo, or read from standard input: one line.
    Auth {
        /// The user's e-mail.
        #[arg(long)]
        email: String,
    },
    /// Say whether a token holds.
    ///
    /// The token is the variable USERS_TOKEN, or one line of standard input.
    Validate,
}

#[derive(Debug, Args)]
struct NewUser {
    /// What the user is called, 1 to 200 characters.
    #[arg(long)]
    name: String,
    /// The user's e-mail, which no other user has.
    #[arg(long)]
    email: String,
    /// Where the user works, up to 200 characters.
    #[arg(long, default_value = "")]
    company: String,
}

impl Command {
    /// The names of the calls, for the service's own `--help`.
    pub const NAMES: [&str; 5] = ["create", "get", "list", "auth", "validate"];

    /// The call that the program's arguments ask for; `None` when they ask for the service. `--help` and mistakes end the
    /// program here.
    #[must_use]
    pub fn from_args(args: impl Iterator<Item = OsString>) -> Option<Self> {
        let args: Vec<OsString> = args.collect();
        let first = args.get(1)?.to_str()?;
        let asks_for_a_call = first == "help" || Self::NAMES.contains(&first);
        asks_for_a_call.then(|| Self::parse_from(args))
    }

    /// Makes the call and prints the answer.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self) -> Result<(), ClientError> {
        match self.call {
            Call::Create(user) => {
                let password = secret::new_password()?;
                let mut client = Client::connect(&self.address).await?;
                client.create(user.name, user.company, user.email, password).await
            }
            Call::Get { id } => Client::connect(&self.address).await?.get(id).await,
            Call::List => Client::connect(&self.address).await?.list().await,
            Call::Auth { email } => {
                let password = secret::password()?;
                Client::connect(&self.address).await?.auth(email, password).await
            }
            Call::Validate => {
                let token = secret::token()?;
                Client::connect(&self.address).await?.validate(token).await
            }
        }
    }
}
