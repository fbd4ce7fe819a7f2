//! On SQLite alone: one process for everything, and a process for each service.

use crate::support::{Ground, LATER, SOON, alone, among_others, create_all, program};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tidings_testing::servers::{Process, eventually, free_port};

/// What `cargo run` prints is to be typed into another terminal.
const CALL: &str = "cargo run -q -p users --";

#[tokio::test(flavor = "multi_thread")]
async fn the_command_that_cargo_run_prints_creates_a_user_whose_mail_is_there_within_a_second() {
    let _turn = alone().await;
    let ground = Ground::embedded();
    let mut demo = ground.command(Path::new(env!("CARGO_BIN_EXE_tidings-demo")));
    let any_port = ["--users.admin", "127.0.0.1:0", "--email.admin", "127.0.0.1:0"];
    demo.args(["--address", &format!("127.0.0.1:{}", free_port())]).args(any_port);
    let mut demo = Process::start("tidings-demo", demo);
    let printed = demo.wait_for_line(CALL, SOON).await;
    demo.wait_for_line("ready", SOON).await;

    let mut call = Command::new("sh");
    let typed = printed.replace(CALL, program("users").to_str().unwrap());
    call.args(["-c", &typed]).current_dir(ground.folder());
    let mut call = Process::start("create", call);
    assert!(call.exit(SOON).await.success(), "{}", call.stderr());
    assert!(call.stdout().contains("ada@example.com"), "{}", call.stdout());

    eventually(Duration::from_secs(1), async || ground.mails().files().len() == 1).await;
    let name = ground.mails().files()[0].file_name().unwrap().to_str().unwrap().to_owned();
    demo.wait_for_line(&name, SOON).await;
    demo.terminate();
    assert!(demo.exit(SOON).await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_one_sqlite_file() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    let (users, _email) = (ground.users(&[]).await, ground.email(&[]).await);
    let created = create_all(&users.client(), 0..30).await;
    ground.mails().reach(&created, SOON).await;
    ground.mails().reach_all_stored(&mut users.client(), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_the_email_service_ever_ran_is_mailed_when_it_does() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    let mut users = ground.users(&[]).await;
    let created = create_all(&users.client(), 0..10).await;
    users.process.terminate();
    assert!(users.process.exit(SOON).await.success());
    let _email = ground.email(&[]).await;
    // Also what was still in the outbox: the next start of users brings it.
    users.process.restart();
    users.ready().await;
    ground.mails().reach(&created, LATER).await;
}
