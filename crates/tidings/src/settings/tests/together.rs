//! Several services in one process.

use super::*;

fn both(args: &[&str], variables: &[(&str, &str)]) -> [Settings; 2] {
    all(&[users(), email()], args, variables).unwrap().settings.try_into().unwrap()
}

fn both_error(args: &[&str], variables: &[(&str, &str)]) -> String {
    all(&[users(), email()], args, variables).unwrap_err().to_string()
}

#[test]
fn a_bare_setting_goes_to_each_that_has_it() {
    let [users, email] = both(&["--broker", "memory:", "--address", ":1", "--mail", "smtp://h"], &[("TIDINGS_WAIT", "1s")]);
    assert_eq!([text(&users, "broker"), text(&email, "broker")], ["memory:", "memory:"]);
    assert_eq!([text(&users, "wait"), text(&email, "wait")], ["1s", "1s"]);
    assert_eq!(text(&users, "address"), ":1");
    assert_eq!(text(&email, "mail"), "smtp://h");
    assert_eq!([text(&users, "database"), text(&email, "database")], ["sqlite:data/users.db", "sqlite:data/email.db"]);
}

#[test]
fn a_prefixed_setting_goes_to_that_one_and_wins() {
    let (_file, path) = file("drain = \"1s\"\n[email]\ndrain = \"2s\"\nmail-timeout = \"3s\"");
    let args =
        ["--users.admin", ":1", "--broker", "memory:", "--email.broker=memory:b", "--users.require-auth", "--config", &path];
    let variables =
        [("TIDINGS_EMAIL_ADMIN", ":2"), ("TIDINGS_USERS_NAME", "u"), ("TIDINGS_EMAIL_WAIT", "4s"), ("TIDINGS_WAIT", "5s")];
    let [users, email] = both(&args, &variables);
    assert_eq!([text(&users, "admin"), text(&email, "admin")], [":1", ":2"]);
    assert_eq!([text(&users, "broker"), text(&email, "broker")], ["memory:", "memory:b"]);
    assert_eq!([text(&users, "wait"), text(&email, "wait")], ["5s", "4s"]);
    assert_eq!([text(&users, "drain"), text(&email, "drain")], ["1s", "2s"]);
    assert_eq!([text(&users, "name"), text(&users, "require-auth"), text(&email, "mail-timeout")], ["u", "true", "3s"]);
}

#[test]
fn what_would_be_wrong_for_all_but_one_is_refused_with_the_way_out() {
    assert_eq!(
        both_error(&["--database", "postgres://me:hunter2@h/x"], &[]),
        "--database postgres://h/x would go to every service in this process; say it to one: --users.database or --email.database"
    );
    assert!(both_error(&[], &[("TIDINGS_NAME", "x")]).ends_with("say it to one: TIDINGS_USERS_NAME or TIDINGS_EMAIL_NAME"));
    assert!(both_error(&["--server_id", "x"], &[]).starts_with("--server_id x would go to every service"));
    assert!(both_error(&["--admin", "127.0.0.1:9000"], &[]).contains("--users.admin or --email.admin"));
    let (_file, path) = file("admin = \":9\"");
    assert!(both_error(&["--config", &path], &[]).ends_with("users.admin or email.admin"));
    let [users, email] = both(&["--admin", "127.0.0.1:0"], &[]);
    assert_eq!([text(&users, "admin"), text(&email, "admin")], ["127.0.0.1:0", "127.0.0.1:0"]);
}

#[test]
fn an_existing_environment_reaches_who_has_a_use_for_it() {
    let variables = [("MICRO_SERVER_NAME", "x"), ("MICRO_SERVER_ADDRESS", ":1"), ("MICRO_BROKER", "nats"), ("DB_HOST", "h")];
    let resolved = all(&[users(), email()], &[], &variables).unwrap();
    let [users, email] = &resolved.settings[..] else { panic!() };
    assert_eq!([text(users, "broker"), text(email, "broker")], ["nats://127.0.0.1:4222?wire=go-micro"; 2]);
    assert_eq!([text(users, "address"), text(users, "database")], [":1", "postgres://h/"]);
    assert_eq!(text(email, "database"), "sqlite:data/email.db");
    assert_eq!(resolved.of_no_use, ["MICRO_SERVER_NAME"]);
}

#[test]
fn names_of_no_service_and_of_the_process_have_no_prefix() {
    assert!(both_error(&["--users.log", "debug"], &[]).starts_with("unknown flag --users.log"));
    assert!(both_error(&["--sms.broker", "memory:"], &[]).starts_with("unknown flag --sms.broker"));
    assert!(both_error(&[], &[("TIDINGS_EMAIL_ADDRESS", ":1")]).starts_with("unknown variable TIDINGS_EMAIL_ADDRESS"));
    // One service alone knows no prefix.
    assert!(error(users(), &["--users.wait", "1s"], &[]).starts_with("unknown flag --users.wait"));
}

#[test]
fn one_name_for_two_services_or_two_kinds_of_value_is_refused() {
    let mut other = Spec::new("sms", "1");
    other.add(Setting::switch("mail"));
    let said = all(&[email(), other], &[], &[]).unwrap_err().to_string();
    assert!(said.contains("`mail` is defined wrongly: email and sms give it different kinds"), "{said}");
    assert!(all(&[email(), email()], &[], &[]).unwrap_err().to_string().contains("have this name"));
}
