//! One trace from the caller's call to the mail, in the logs of both services.

use crate::support::{Ground, SOON, among_others, user};
use serde_json::Value;
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

/// What users wrote about the new user, and email about its mail.
async fn lines_of_one_user(format: &str) -> [String; 2] {
    let ground = Ground::embedded();
    let flags = ["--log-format", format];
    let (mut users, mut email) = (ground.users(&flags).await, ground.email(&flags).await);
    let mut call = Request::new(user(0));
    call.metadata_mut().insert("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01").parse().unwrap());
    let id = users.client().create(call).await.unwrap().into_inner().user.unwrap().id;
    let lines = [
        users.process.wait_for_line("user created", SOON).await,
        email.process.wait_for_line("wrote the welcome mail", SOON).await,
    ];
    assert!(lines.iter().all(|line| line.contains(&id)), "{lines:?}");
    lines
}
