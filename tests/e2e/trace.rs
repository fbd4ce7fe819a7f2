//! One trace from the caller's call to the mail, in the logs of both services.

use crate::support::{Ground, Running, SOON, among_others, user};
use serde_json::Value;
use tidings_testing::servers::free_port;
use tonic::Request;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_trace_is_on_the_lines_of_the_user_and_of_the_mail() {
    let _turn = among_others().await;
    for line in lines_of_one_user("text").await {
        assert!(line.contains(&format!("trace_id={TRACE}")), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_trace_is_in_the_spans_of_those_lines_as_json() {
    let _turn = among_others().await;
    for line in lines_of_one_user("json").await {
        let line: Value = serde_json::from_str(&line).unwrap();
        let spans = line["spans"].as_array().unwrap();
        assert!(spans.iter().any(|span| span["trace_id"] == TRACE), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callers_trace_is_on_the_lines_of_a_mail_that_fails_and_is_given_up() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    let nobody = format!("smtp://127.0.0.1:{}", free_port());
    let mut users = ground.users(&[]).await;
    let mut email = ground.email(&["--mail", &nobody, "--mail-retry-first", "10ms", "--mail-retry-for", "1s"]).await;
    let id = create_within_the_trace(&users).await;
    users.process.wait_for_line(&id, SOON).await;
    for said in ["another follows", "given up"] {
        let line = email.process.wait_for_line(said, SOON).await;
        for part in [&format!("trace_id={TRACE}"), "topic=user.created", "group=email"] {
            assert!(line.contains(part), "no {part}: {line}");
        }
    }
}

async fn create_within_the_trace(users: &Running) -> String {
    let mut call = Request::new(user(0));
    call.metadata_mut().insert("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap());
    users.client().create(call).await.unwrap().into_inner().user.unwrap().id
}

/// What users wrote about the new user, and email about its mail.
async fn lines_of_one_user(format: &str) -> [String; 2] {
    let ground = Ground::embedded();
    let flags = ["--log-format", format];
    let (mut users, mut email) = (ground.users(&flags).await, ground.email(&flags).await);
    let id = create_within_the_trace(&users).await;
    let lines = [
        users.process.wait_for_line("user created", SOON).await,
        email.process.wait_for_line("wrote the welcome mail", SOON).await,
    ];
    assert!(lines.iter().all(|line| line.contains(&id)), "{lines:?}");
    lines
}
