//! A client in another language, generated from the proto.

use crate::support::{Ground, SOON, among_others};
use serde_json::{Value, json};
use std::process::{Command, Output};
use tidings_testing::servers::{folder, python};

const PACKAGES: &[&str] = &["grpcio==1.85.3", "grpcio-tools==1.85.1", "protobuf==7.36.2"];
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/client.py");
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/services/users/proto");

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_generated_from_the_proto_makes_all_five_calls() {
    let _turn = among_others().await;
    let Some(python) = python(PACKAGES).await else { return };
    let stubs = folder("python");
    let generate = ["-m", "grpc_tools.protoc", "--proto_path", PROTO, "user.proto"];
    let to = |option: &str| format!("--{option}={}", stubs.display());
    run(Command::new(&python).args(generate).args([to("python_out"), to("grpc_python_out")]));

    let ground = Ground::embedded();
    let (users, _email) = (ground.users(&[]).await, ground.email(&[]).await);
    let address = format!("127.0.0.1:{}", users.port());
    let said = run(Command::new(&python).args([CLIENT, &address]).env("PYTHONPATH", &stubs));
    let expected = json!({
        "created": true, "email": "ewan@example.com", "password": "", "same": true,
        "listed": ["ewan@example.com"], "valid": true, "forged": "UNAUTHENTICATED",
    });
    assert_eq!(serde_json::from_slice::<Value>(&said.stdout).unwrap(), expected);
    ground.mails().reach_all_stored(&mut users.client(), SOON).await;
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
