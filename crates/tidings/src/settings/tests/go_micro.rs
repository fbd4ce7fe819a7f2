//! An existing deployment's flags and variables.

use super::*;

#[test]
fn the_tutorials_environment_works_unchanged() {
    let makefile = [
        ("MICRO_SERVER_ADDRESS", ":50051"),
        ("MICRO_REGISTRY", "mdns"),
        ("MICRO_BROKER", "nats"),
        ("MICRO_BROKER_ADDRESS", "10.0.0.1:4222,10.0.0.2:4222"),
        ("DB_HOST", "db"),
        ("DB_USER", "postgres"),
        ("DB_PASS", "password"),
    ];
    let resolved = all(&[users()], &[], &makefile).unwrap();
    let settings = &resolved.settings[0];
    assert_eq!(text(settings, "address"), ":50051");
    assert_eq!(text(settings, "broker"), "nats://10.0.0.1:4222,10.0.0.2:4222?wire=go-micro");
    assert_eq!(settings.get::<String>("database").unwrap(), "postgres://postgres:password@db/postgres");
    assert_eq!(resolved.of_no_use, ["MICRO_REGISTRY"]);
    // The email-service has no gRPC, and nobody's database.
    let resolved = all(&[email()], &[], &makefile).unwrap();
    assert_eq!(text(&resolved.settings[0], "database"), "sqlite:data/email.db");
    assert_eq!(resolved.of_no_use, ["MICRO_REGISTRY", "MICRO_SERVER_ADDRESS"]);
}

#[test]
fn its_flags_are_taken_and_what_does_nothing_is_named() {
    let args = [
        "--server_name=go.micro.srv.user",
        "--server_id",
        "7",
        "--server_address",
        ":1",
        "--registry=consul",
        "--server_version",
        "1",
    ];
    let resolved = all(&[users()], &args, &[("MICRO_CLIENT_RETRIES", "3")]).unwrap();
    let settings = &resolved.settings[0];
    assert_eq!([text(settings, "name"), text(settings, "id"), text(settings, "address")], ["go.micro.srv.user", "7", ":1"]);
    assert_eq!(resolved.of_no_use, ["--server_version", "--registry", "MICRO_CLIENT_RETRIES"]);
}

#[test]
fn the_word_nats_is_a_url_wherever_it_stands() {
    let broker = |args: &[&str], variables| text(&one(users(), args, variables), "broker");
    assert_eq!(broker(&["--broker", "nats"], &[]), "nats://127.0.0.1:4222?wire=go-micro");
    assert_eq!(broker(&["--broker=nats", "--broker_address=h:1"], &[]), "nats://h:1?wire=go-micro");
    assert_eq!(broker(&["--broker=nats"], &[("MICRO_BROKER_ADDRESS", "h:1")]), "nats://h:1?wire=go-micro");
    assert_eq!(broker(&[], &[("TIDINGS_BROKER", "nats"), ("MICRO_BROKER_ADDRESS", "h:1")]), "nats://h:1?wire=go-micro");
}

#[test]
fn ours_wins_where_both_are_set_in_the_same_place() {
    let both =
        [("TIDINGS_BROKER", "memory:"), ("MICRO_BROKER", "nats"), ("MICRO_BROKER_ADDRESS", "h:1"), ("MICRO_SERVER_NAME", "b")];
    let resolved = all(&[users()], &["--name", "a"], &both).unwrap();
    assert_eq!([text(&resolved.settings[0], "broker"), text(&resolved.settings[0], "name")], ["memory:", "a"]);
    assert_eq!(resolved.of_no_use, ["MICRO_BROKER_ADDRESS"]);
    // A flag of theirs wins over a variable of ours: a flag wins over a variable.
    assert_eq!(text(&one(users(), &["--server_name", "b"], &[("TIDINGS_NAME", "a")]), "name"), "b");
    let database = |variables| text(&one(users(), &[], variables), "database");
    assert_eq!(database(&[("DB_HOST", "h"), ("TIDINGS_DATABASE", "sqlite:x")]), "sqlite:x");
}

#[test]
fn a_variable_of_theirs_wins_over_the_file_and_an_empty_one_is_none() {
    let (_file, path) = file("name = \"a\"\ndatabase = \"sqlite:x\"");
    let settings = one(users(), &["--config", &path], &[("MICRO_SERVER_NAME", "b"), ("DB_HOST", "h")]);
    assert_eq!([text(&settings, "name"), text(&settings, "database")], ["b", "postgres://h/"]);
    let settings = one(users(), &["--config", &path], &[("MICRO_SERVER_NAME", ""), ("DB_HOST", "")]);
    assert_eq!([text(&settings, "name"), text(&settings, "database")], ["a", "sqlite:x"]);
}

#[test]
fn another_broker_of_theirs_is_refused_with_what_is_allowed() {
    let said = error(users(), &[], &[("MICRO_BROKER", "rabbitmq")]);
    assert_eq!(
        said,
        "MICRO_BROKER=rabbitmq is not allowed: a URL, which begins with a scheme and a colon, or go-micro's word nats"
    );
}
