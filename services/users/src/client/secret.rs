//! Where secrets come from: the terminal, standard input, or the environment; never a flag, which any user of the machine
//! can read in the list of processes.

use std::{
    env,
    io::{self, BufRead, IsTerminal},
};

use super::ClientError;

/// The variable that holds a token.
const TOKEN: &str = "USERS_TOKEN";
/// No password or token is longer.
const LONGEST_LINE: u64 = 64 * 1024;

/// A password to give, asked for twice where somebody types it.
pub(super) fn new_password() -> Result<String, ClientError> {
    let password = password()?;
    if io::stdin().is_terminal() && ask("Password again: ")? != password {
        return Err(ClientError::Differ);
    }
    Ok(password)
}

/// A password to log in with.
pub(super) fn password() -> Result<String, ClientError> {
    if io::stdin().is_terminal() { ask("Password: ") } else { line("a password") }
}

/// The token to look at.
pub(super) fn token() -> Result<String, ClientError> {
    match token_if_set() {
        Some(token) => Ok(token),
        None if io::stdin().is_terminal() => ask("Token: "),
        None => line("a token"),
    }
}

/// The token to show, where one was given.
pub(super) fn token_if_set() -> Option<String> {
    env::var(TOKEN).ok().filter(|token| !token.is_empty())
}

fn ask(prompt: &str) -> Result<String, ClientError> {
    rpassword::prompt_password(prompt).map_err(ClientError::Input)
}

fn line(wanted: &'static str) -> Result<String, ClientError> {
    first_line(io::stdin().lock()).map_err(ClientError::Input)?.ok_or(ClientError::Nothing { wanted })
}

fn first_line(from: impl BufRead) -> io::Result<Option<String>> {
    let mut line = String::new();
    from.take(LONGEST_LINE).read_line(&mut line)?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok((!line.is_empty()).then(|| line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_the_first_line_as_it_is() {
        for (given, read) in [
            ("pass word\n", Some("pass word")),
            (" pass\r\nmore\n", Some(" pass")),
            ("pass", Some("pass")),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(first_line(given.as_bytes()).unwrap().as_deref(), read);
        }
        assert!(first_line(&b"\xff\n"[..]).is_err());
    }
}
