//! What cannot work is refused at the start: one line that says what is wrong and where, and no success.

use crate::support::{Ground, SOON, among_others, program};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use tidings_testing::servers::{Process, free_port};

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_broker_is_refused_with_the_known_ones() {
    let _turn = among_others().await;
    let said = refusal(&Ground::on("redis://127.0.0.1"), "users", &[], &[]).await;
    for word in ["--broker", "redis", "jetstream", "memory", "nats", "sqlite"] {
        assert!(said.contains(word), "no `{word}`: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_url_with_an_unknown_setting_is_refused() {
    let _turn = among_others().await;
    let said = refusal(&Ground::on("nats://127.0.0.1:4222?wires=bare"), "email", &[], &[]).await;
    assert!(said.contains("wires"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_refused_by_its_name() {
    let _turn = among_others().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for setting in ["--address", "--admin"] {
        let said = refusal(&Ground::embedded(), "users", &[setting, &address], &[]).await;
        assert!(said.contains(setting) && said.contains(&address), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_out_of_reach_is_waited_for_then_refused_without_its_password() {
    let _turn = among_others().await;
    let database = format!("postgres://ann:hunter2@127.0.0.1:{}/users", free_port());
    let said = refusal(&Ground::embedded(), "users", &["--database", &database, "--wait", "1s"], &[]).await;
    assert!(said.contains("--database") && !said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_out_of_reach_is_waited_for_then_refused_without_its_password() {
    let _turn = among_others().await;
    let broker = format!("nats://ann:hunter2@127.0.0.1:{}", free_port());
    let said = refusal(&Ground::on(&broker), "email", &["--wait", "1s"], &[]).await;
    assert!(said.contains("--broker") && !said.contains("hunter2"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_database_file_is_refused_by_its_name() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    let data = ground.folder().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("users.db"), "this is no database, ".repeat(500)).unwrap();
    let said = refusal(&ground, "users", &[], &[]).await;
    assert!(said.contains("users.db"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_file_that_others_can_read_is_refused_by_its_name() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    drop(ground.users(&[]).await);
    let key = ground.folder().join("data/auth.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = refusal(&ground, "users", &[], &[]).await;
    assert!(said.contains("auth.key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_flag_and_an_unknown_name_in_the_environment_are_refused() {
    let _turn = among_others().await;
    let said = refusal(&Ground::embedded(), "users", &["--adress", "127.0.0.1:0"], &[]).await;
    assert!(said.contains("--adress") && said.contains("--address"), "{said}");
    let said = refusal(&Ground::embedded(), "email", &[], &[("TIDINGS_BROKR", "memory:")]).await;
    assert!(said.contains("TIDINGS_BROKR"), "{said}");
}

/// What a service says on standard error that must not start.
async fn refusal(ground: &Ground, name: &str, flags: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = ground.command(&program(name));
    // Ports that the operating system chooses, but for those under test.
    if name == "users" && !flags.contains(&"--address") {
        command.args(["--address", "127.0.0.1:0"]);
    }
    if !flags.contains(&"--admin") {
        command.args(["--admin", "127.0.0.1:0"]);
    }
    command.args(flags).envs(environment.iter().copied());
    let mut process = Process::start(name, command);
    let status = process.exit(SOON).await;
    let said = process.stderr();
    assert_eq!(status.code().map(|code| code != 0), Some(true), "{status}: {said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}
