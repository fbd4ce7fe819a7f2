//! What the command line may say beside the service's own flags.

use clap::{ArgMatches, Args, Command, FromArgMatches, Subcommand};

use super::{ClientError, calls::Client, secret};

/// A call to make instead of being the service.
#[derive(Debug, Subcommand)]
pub enum Call {
    /// Create a user on a running service; prints its id, name, company and e-mail
    ///
    /// The password is asked for without echo, or read from standard input: one line.
    Create(Create),
    /// Print a user of a running service
    ///
    /// Where the service asks for a token, the variable USERS_TOKEN has it.
    Get(Get),
    /// Print all users of a running service, in the order of their ids
    ///
    /// Where the service asks for a token, the variable USERS_TOKEN has it.
    List(List),
    /// Log in at a running service; prints a token
    ///
    /// The password is asked for without echo, or read from standard input: one line.
    Auth(Auth),
    /// Ask a running service whether a token holds
    ///
    /// The token is the variable USERS_TOKEN, or asked for, or one line of standard input.
    Validate(Validate),
}

#[derive(Debug, Args)]
struct Service {
    /// Where the service listens
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:50051")]
    address: String,
}

/// The flags of `create`.
#[derive(Debug, Args)]
pub struct Create {
    /// What the user is called, 1 to 200 characters
    #[arg(long)]
    name: String,
    /// The user's e-mail, which no other user has
    #[arg(long)]
    email: String,
    /// Where the user works, up to 200 characters
    #[arg(long, default_value = "")]
    company: String,
    #[command(flatten)]
    service: Service,
}

/// The flags of `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// The user's id
    id: String,
    #[command(flatten)]
    service: Service,
}

/// The flags of `list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    service: Service,
}

/// The flags of `auth`.
#[derive(Debug, Args)]
pub struct Auth {
    /// The user's e-mail
    #[arg(long)]
    email: String,
    #[command(flatten)]
    service: Service,
}

/// The flags of `validate`.
#[derive(Debug, Args)]
pub struct Validate {
    #[command(flatten)]
    service: Service,
}

impl Call {
    /// Adds the calls to the service's own command line.
    #[must_use]
    pub fn offer(command: Command) -> Command {
        // clap would say what a call is in place of what the service is.
        let about = command.get_about().cloned().unwrap_or_default();
        Self::augment_subcommands(command).about(about).args_conflicts_with_subcommands(true)
    }

    /// The call that is asked for, if one is.
    #[must_use]
    pub fn asked(matches: &ArgMatches) -> Option<Self> {
        Self::from_arg_matches(matches).ok()
    }

    /// Whether the program's arguments begin with the name of a call.
    #[must_use]
    pub fn is_asked(mut arguments: impl Iterator<Item = String>) -> bool {
        arguments.nth(1).is_some_and(|name| Self::has_subcommand(&name))
    }

    /// Makes the call and prints the answer.
    ///
    /// # Errors
    /// When the service cannot be reached or refuses.
    pub async fn run(self) -> Result<(), ClientError> {
        match self {
            Self::Create(Create { name, email, company, service }) => {
                let password = secret::new_password()?;
                Client::connect(&service.address).await?.create(name, company, email, password).await
            }
            Self::Get(Get { id, service }) => Client::connect(&service.address).await?.get(id).await,
            Self::List(List { service }) => Client::connect(&service.address).await?.list().await,
            Self::Auth(Auth { email, service }) => {
                let password = secret::password()?;
                Client::connect(&service.address).await?.auth(email, password).await
            }
            Self::Validate(Validate { service }) => {
                let token = secret::token()?;
                Client::connect(&service.address).await?.validate(token).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Option<Call>, String> {
        let service = Command::new("users").arg(clap::Arg::new("broker").long("broker"));
        let matches = Call::offer(service).try_get_matches_from(line.split(' '));
        matches.map(|matches| Call::asked(&matches)).map_err(|mistake| ClientError::arguments(&mistake).to_string())
    }

    #[test]
    fn a_call_is_told_from_the_service_and_its_flags() {
        assert!(asked("users").unwrap().is_none());
        assert!(asked("users --broker memory:").unwrap().is_none());
        assert!(matches!(asked("users list").unwrap(), Some(Call::List(_))));
        let Some(Call::Get(get)) = asked("users get 7 --address :1").unwrap() else { panic!("a call") };
        assert_eq!((get.id.as_str(), get.service.address.as_str()), ("7", ":1"));
    }

    #[test]
    fn a_mistake_is_one_line_and_a_password_in_a_flag_is_one() {
        let said = asked("users create --name Ada").unwrap_err();
        assert_eq!(said, "the following required arguments were not provided: --email <EMAIL>; --help says more");
        let said = asked("users create --name Ada --email a@b --password hunter22").unwrap_err();
        assert!(said.contains("--password") && !said.contains("hunter22"), "{said}");
        assert!(Call::is_asked(["users", "create"].map(str::to_owned).into_iter()));
        assert!(!Call::is_asked(["users", "--adress"].map(str::to_owned).into_iter()));
    }
}
