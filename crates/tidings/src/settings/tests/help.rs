//! What `--help`, `--version` and docs/settings.md say.

use super::*;
use crate::service::Service;

fn asked(specs: &[Spec], flag: &str) -> String {
    match parse(specs, ["program", flag].map(OsString::from)) {
        Err(NoFlags::Asked(text)) => text.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_help_of_a_service_has_every_setting_with_its_variable_and_default() {
    let help = asked(&[users()], "--help");
    for setting in users().settings {
        let flag = format!("      --{}", setting.name);
        let line = help
            .lines()
            .find(|line| line.split([' ', '[']).any(|word| word == flag.trim()) && line.starts_with(&flag))
            .unwrap_or_else(|| panic!("{} in {help}", setting.name));
        let from = help.find(line).unwrap();
        let entry = help[from..].split("\n\n").next().unwrap_or_default();
        let next = entry[3..].find("\n      --").map_or(entry.len(), |end| end + 3);
        let entry = entry[..next].split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(entry.contains(&format!("[{}]", spec::variable(setting.name))), "{entry}");
        if let Some(default) = setting.default_shown() {
            assert!(entry.contains(&format!("[default: {default}]")), "{entry}");
        }
    }
    assert!(help.contains("MICRO_SERVER_ADDRESS") && help.contains("DB_HOST") && help.contains("Of users"), "{help}");
    assert!(!asked(&[email()], "--help").contains("--address"));
}

#[test]
fn the_help_of_several_services_says_which_forms_reach_one() {
    let help = asked(&[users(), email()], "--help");
    for part in [
        "--users.admin",
        "--email.database",
        "[default: 127.0.0.1:9102]",
        "TIDINGS_USERS_NAME",
        "(users)",
        "Of email",
        "--users.broker",
    ] {
        assert!(help.contains(part), "{part} in {help}");
    }
    assert!(!help.contains("  --database <"), "{help}");
}

#[test]
fn the_version_names_the_service() {
    assert_eq!(asked(&[users()], "--version"), "users 1.2.3\n");
    assert_eq!(asked(&[users(), email()], "--version"), "users 1.2.3, email 1.2.3\n");
}

#[test]
fn the_page_has_every_setting() {
    let builder = Service::builder("email", "1")
        .without(Group::Grpc)
        .default("admin", ":9102")
        .setting(Setting::url("mail").default("file:x"));
    let page = document(&[&builder]);
    for setting in table::table() {
        assert!(page.contains(&format!("| `--{}` | `{}` |", setting.name, spec::variable(setting.name))), "{}", setting.name);
    }
    for part in [
        "## The email service",
        "| `--mail` |",
        "The default of `--admin` is `:9102`.",
        "It has no `--address`",
        "`MICRO_REGISTRY`",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}
