//! The program's calls, as people and scripts make them.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use crate::support::Users;

const TOKEN: &str = "USERS_TOKEN";

/// Runs `users` with these arguments and this standard input; away from the service, which is in this process.
async fn run(arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_users"));
    command.args(arguments).env_remove(TOKEN).envs(environment.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap()
}

fn printed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(said, "");
    String::from_utf8(output.stdout.clone()).unwrap().trim_end().to_owned()
}

/// The one line of a program that failed.
fn complaint(output: &Output) -> String {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(output.stdout.is_empty());
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_created_found_and_logged_in_from_the_command_line() {
    let users = Users::start(&["--require-auth"]).await;
    let at = users.address();
    let at = ["--address", at.as_str()];
    let call =
        async |arguments: &[&str], input: &str, token: &str| run(&[arguments, &at].concat(), input, &[(TOKEN, token)]).await;
    let ada = ["create", "--name", "Ada", "--email", "Ada@example.com", "--company", "Engines"];
    let line = printed(&call(&ada, "correct horse\n", "").await);
    let (id, rest) = line.split_once('\t').unwrap();
    assert_eq!(rest, "Ada\tEngines\tada@example.com");

    let auth = ["auth", "--email", "ada@example.com"];
    let token = printed(&call(&auth, "correct horse\n", "").await);
    assert_eq!(printed(&call(&["get", id], "", &token).await), line);
    assert_eq!(printed(&call(&["list"], "", &token).await), line);
    assert_eq!(printed(&call(&["validate"], "", &token).await), "valid");
    assert_eq!(printed(&call(&["validate"], &format!("{token}\n"), "").await), "valid");

    assert!(complaint(&call(&ada, "correct horse\n", "").await).contains("AlreadyExists"));
    assert!(complaint(&call(&ada, "short\n", "").await).contains("password must have 8 to 128 characters"));
    assert!(complaint(&call(&ada, "", "").await).contains("standard input"));
    assert!(complaint(&call(&auth, "wrong horse\n", "").await).contains("Unauthenticated"));
    assert!(complaint(&call(&["get", id], "", "").await).contains("Unauthenticated"));
    assert!(complaint(&call(&["validate"], "a.b.c\n", "").await).contains("Unauthenticated"));
    assert!(complaint(&call(&["get", "7"], "", &token).await).contains("id must be a UUID"));
}

#[tokio::test]
async fn what_is_wrong_with_the_command_line_is_one_line() {
    assert!(complaint(&run(&["create", "--name", "Ada"], "", &[]).await).contains("--email"));
    assert!(
        complaint(&run(&["list", "--address", "127.0.0.1:1"], "", &[]).await).contains("no user-service answers at 127.0.0.1:1")
    );
    assert!(complaint(&run(&["list", "--address", "no host"], "", &[]).await).contains("--address no host"));
    assert!(complaint(&run(&["--adress", ":1"], "", &[]).await).contains("--address"));
    let flag = ["auth", "--email", "a@b", "--password", "correct horse"];
    assert!(!complaint(&run(&flag, "", &[]).await).contains("correct horse"));
}

#[tokio::test]
async fn the_help_shows_the_calls_and_the_settings() {
    let help = printed(&run(&["--help"], "", &[]).await);
    for part in [
        "Stores users",
        "create",
        "get",
        "list",
        "auth",
        "validate",
        "--auth-key",
        "--require-auth",
        "TIDINGS_AUTH_KEY",
        "DB_HOST",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    for call in ["create", "get", "list", "auth", "validate"] {
        assert!(printed(&run(&[call, "--help"], "", &[]).await).contains("--address <HOST:PORT>"));
    }
}
