//! What the rules of docs/settings.md say, case by case: arguments, variables and files are inputs, nothing is the process's.

mod go_micro;
mod help;
mod together;

use std::{ffi::OsString, time::Duration};

use super::*;

/// A service with one setting of every kind of its own.
fn users() -> Spec {
    let mut spec = Spec::new("users", "1.2.3");
    spec.tutorial_database = true;
    spec.default("admin", "127.0.0.1:9101");
    spec.add(Setting::switch("require-auth").help("Refuse calls without a token"));
    spec.add(Setting::path("auth-key").default("<data>/auth.key").help("The key of tokens"));
    spec.add(Setting::text("pepper").secret().help("Goes into hashes"));
    spec
}

fn email() -> Spec {
    let mut spec = Spec::new("email", "1.2.3");
    spec.without(Group::Grpc);
    spec.default("admin", "127.0.0.1:9102");
    spec.add(Setting::url("mail").default("file:<data>/mail").help("Where mail goes"));
    spec.add(Setting::duration("mail-timeout").default("20s").between(Duration::from_millis(100), Duration::from_secs(60)));
    spec
}

fn pairs(variables: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    variables.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn flags(specs: &[Spec], args: &[&str]) -> Result<std::collections::BTreeMap<String, String>, SettingsError> {
    match parse(specs, ["program"].iter().chain(args).map(OsString::from)) {
        Ok(flags) => Ok(flags),
        Err(NoFlags::Wrong(error)) => Err(error),
        Err(NoFlags::Asked(text)) => panic!("asked for {text}"),
    }
}

fn all(specs: &[Spec], args: &[&str], variables: &[(&str, &str)]) -> Result<Resolved, SettingsError> {
    resolve(specs, flags(specs, args)?, pairs(variables))
}

fn one(spec: Spec, args: &[&str], variables: &[(&str, &str)]) -> Settings {
    all(&[spec], args, variables).unwrap().settings.remove(0)
}

fn error(spec: Spec, args: &[&str], variables: &[(&str, &str)]) -> String {
    let error = all(&[spec], args, variables).unwrap_err().to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn text(settings: &Settings, name: &str) -> String {
    settings.0.entries[name].value.as_ref().unwrap().to_string()
}

/// A file that is there as long as the test runs.
fn file(content: &str) -> (tempfile::NamedTempFile, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    (file, path)
}

#[test]
fn without_anything_given_every_default_is_read() {
    let settings = one(users(), &[], &[("PATH", "/bin"), ("MICROSOFT", "x")]);
    for (name, value) in [
        ("address", "127.0.0.1:50051"),
        ("admin", "127.0.0.1:9101"),
        ("broker", "sqlite:data/broker.db"),
        ("database", "sqlite:data/users.db"),
        ("auth-key", "data/auth.key"),
        ("require-auth", "false"),
        ("wait", "30s"),
        ("drain", "25s"),
        ("log", "info"),
        ("grpc-message", "4194304"),
    ] {
        assert_eq!(text(&settings, name), value, "{name}");
        assert!(!settings.is_given(name), "{name}");
    }
    assert_eq!(settings.get::<Option<String>>("name").unwrap(), None);
    assert_eq!(settings.get::<Option<Address>>("http").unwrap(), None);
}

#[test]
fn a_flag_wins_over_a_variable_a_variable_over_the_file_the_file_over_the_default() {
    let (_file, path) = file("wait = \"3s\"\nbroker = \"memory:\"\nin-flight = 3\nrequire-auth = true");
    let args = ["--wait", "1s", "--config", &path];
    let settings = one(users(), &args, &[("TIDINGS_WAIT", "2s"), ("TIDINGS_BROKER", "nats://h")]);
    assert_eq!(text(&settings, "wait"), "1s");
    assert_eq!(text(&settings, "broker"), "nats://h");
    assert_eq!(settings.get::<usize>("in-flight").unwrap(), 3);
    assert!(settings.get::<bool>("require-auth").unwrap());
    assert_eq!(text(&settings, "drain"), "25s");
    let by_variable = one(users(), &["--require-auth=false"], &[("TIDINGS_CONFIG", &path)]);
    assert_eq!(text(&by_variable, "wait"), "3s");
    assert!(!by_variable.get::<bool>("require-auth").unwrap());
}

#[test]
fn a_switch_is_bare_or_has_its_value_behind_an_equals_sign() {
    let on = |args: &[&str], variables| one(users(), args, variables).get::<bool>("require-auth").unwrap();
    assert!(on(&["--require-auth"], &[]));
    assert!(on(&["--require-auth", "--wait", "1s"], &[]));
    assert!(!on(&["--require-auth=false"], &[("TIDINGS_REQUIRE_AUTH", "true")]));
    assert!(on(&[], &[("TIDINGS_REQUIRE_AUTH", "true")]));
    assert_eq!(error(users(), &[], &[("TIDINGS_REQUIRE_AUTH", "1")]), "TIDINGS_REQUIRE_AUTH=1 is not allowed: true or false");
}

#[test]
fn placeholders_are_filled_in_whatever_the_name_is() {
    let settings =
        one(users(), &["--data", "/var/lib/a 100%?", "--name", "other"], &[("TIDINGS_BROKER", "sqlite:<data>/<service>-b.db")]);
    assert_eq!(settings.get::<String>("database").unwrap(), "sqlite:/var/lib/a 100%25%3F/users.db");
    assert_eq!(settings.get::<String>("broker").unwrap(), "sqlite:/var/lib/a 100%25%3F/users-b.db");
    assert_eq!(text(&settings, "auth-key"), "/var/lib/a 100%?/auth.key");
}

#[test]
fn what_there_is_not_is_refused_with_what_may_have_been_meant() {
    assert_eq!(
        error(users(), &["--brokr", "x"], &[]),
        "unknown flag --brokr (did you mean --broker?); --help lists what there is"
    );
    assert_eq!(error(users(), &["--colour"], &[]), "unknown flag --colour; --help lists what there is");
    assert_eq!(error(users(), &["serve"], &[]), "unknown argument serve; --help lists what there is");
    assert!(!error(users(), &["postgres://me:hunter2@h/x"], &[]).contains("hunter2"));
    assert_eq!(
        error(users(), &[], &[("TIDINGS_ADRESS", "x")]),
        "unknown variable TIDINGS_ADRESS (did you mean TIDINGS_ADDRESS?); --help lists what there is"
    );
    // All begin alike, and for that they are not near.
    assert_eq!(error(users(), &[], &[("TIDINGS_MAIL", "file:x")]), "unknown variable TIDINGS_MAIL; --help lists what there is");
    // Of another service.
    assert!(error(email(), &[], &[("TIDINGS_ADDRESS", ":1")]).starts_with("unknown variable TIDINGS_ADDRESS"));
    assert!(error(email(), &["--require-auth"], &[]).starts_with("unknown flag --require-auth"));
    let (_file, path) = file("brokr = \"x\"");
    let said = error(users(), &["--config", &path], &[]);
    assert!(said.starts_with("unknown setting brokr in /") && said.contains("(did you mean broker?)"), "{said}");
    let (_file, path) = file("config = \"x\"");
    assert!(error(users(), &["--config", &path], &[]).starts_with("unknown setting config in"));
}

#[test]
fn a_bad_value_is_shown_where_it_was_given_with_what_is_allowed() {
    for (args, variables, said) in [
        (
            &["--wait", "soon"][..],
            &[][..],
            "--wait soon is not allowed: a number with a unit: 250ms, 30s, 5m, 24h, 7d; from 0ms to 1d",
        ),
        (&[], &[("TIDINGS_IN_FLIGHT", "0")], "TIDINGS_IN_FLIGHT=0 is not allowed: a whole number; from 1 to 1048576"),
        (&["--log-format=xml"], &[], "--log-format xml is not allowed: one of text, json"),
        (
            &["--admin", "9101"],
            &[],
            "--admin 9101 is not allowed: HOST:PORT, or :PORT for every interface; port 0 takes a free one",
        ),
        (
            &["--broker", "kafka"],
            &[],
            "--broker kafka is not allowed: a URL, which begins with a scheme and a colon, or go-micro's word nats",
        ),
        (&["--data", ""], &[], "--data  is not allowed: a path"),
        (&["--broker"], &[], "--broker needs a value: a URL, which begins with a scheme and a colon"),
        (&["--wait", "1s", "--wait", "2s"], &[], "--wait is given twice"),
    ] {
        assert_eq!(error(users(), args, variables), said);
    }
    let (_file, path) = file("wait = 30");
    assert!(error(users(), &["--config", &path], &[]).starts_with("wait = 30 in /"));
}

#[test]
fn a_file_that_cannot_be_read_or_is_no_toml_is_named() {
    let said = crate::error::chain(&all(&[users()], &["--config", "/none/x.toml"], &[]).unwrap_err());
    assert!(said.starts_with("the settings file /none/x.toml (--config) cannot be read: "), "{said}");
    let (_file, path) = file("wait = \"1s\"\npepper = hunter2\n");
    let said = error(users(), &["--config", &path], &[]);
    assert!(said.contains("is no TOML at line 2: ") && !said.contains("hunter2"), "{said}");
    let (_file, path) = file("wait = [1]");
    assert!(error(users(), &["--config", &path], &[]).contains("is not allowed: a text, a whole number, true or false"));
}

#[test]
fn no_secret_is_printed() {
    let settings = one(
        users(),
        &["--database", "postgres://me:hunter2@h/x", "--pepper", "hunter2"],
        &[("TIDINGS_BROKER", "nats://hunter2@h")],
    );
    let shown = format!("{settings:?} {} {}", settings.refuse("pepper", "x"), settings.refuse("database", "x"));
    assert!(!shown.contains("hunter2") && shown.contains("postgres://h/x"), "{shown}");
    let said = error(users(), &["--pepper="], &[]);
    assert!(said.contains("(not shown)"), "{said}");
}

#[test]
fn a_program_that_asks_for_what_it_has_not_is_told() {
    let settings = one(users(), &[], &[]);
    assert_eq!(
        settings.get::<bool>("colour").unwrap_err().to_string(),
        "this service has no setting `colour`: add it with `Builder::setting`"
    );
    assert_eq!(
        settings.get::<bool>("wait").unwrap_err().to_string(),
        "the setting `wait` is of another kind: it cannot be read as a switch"
    );
    assert_eq!(
        settings.get::<String>("pepper").unwrap_err().to_string(),
        "the setting `pepper` is not set: it cannot be read as text"
    );
}

#[test]
fn a_program_that_defines_settings_wrongly_is_told() {
    let wrong = |change: fn(&mut Spec)| {
        let mut spec = users();
        change(&mut spec);
        error(spec, &[], &[])
    };
    for (said, name) in [
        (wrong(|spec| spec.add(Setting::text("Mail"))), "`Mail`"),
        (wrong(|spec| spec.add(Setting::text("broker"))), "`broker`"),
        (wrong(|spec| spec.add(Setting::text("help"))), "`help`"),
        (wrong(|spec| spec.default("colour", "red")), "`colour`"),
        (wrong(|spec| spec.without(Group::Log)), "`Log`"),
        (wrong(|spec| spec.default("wait", "soon")), "`wait`"),
    ] {
        assert!(said.starts_with(&format!("the setting {name} is defined wrongly: ")), "{said}");
    }
}

#[test]
fn a_services_own_judgement_names_where_the_value_was_given() {
    let settings = one(users(), &["--name", "a b"], &[]);
    assert_eq!(settings.refuse("name", "letters").to_string(), "--name a b is not allowed: letters");
    assert_eq!(settings.refuse("log", "less").to_string(), "log = info, the default, is not allowed: less");
}
