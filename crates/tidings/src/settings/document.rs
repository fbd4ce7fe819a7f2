//! The table as a page: docs/settings.md.

use super::{
    go_micro,
    setting::{Fallback, Group, Setting},
    spec::{Spec, variable},
    table::table,
    value::Kind,
};
use crate::service::Builder;

/// The page that describes the settings of every service, and what these services have besides, in Markdown.
///
/// It is how `docs/settings.md` is made; a program of yours can make its own.
#[must_use]
pub fn document(services: &[&Builder]) -> String {
    let mut page = INTRODUCTION.to_owned();
    let table = table();
    for group in [Group::Service, Group::Events, Group::Database, Group::Grpc, Group::Http, Group::Log] {
        page.push_str(&format!("\n## {}\n\n{HEAD}", group.title()));
        page.extend(table.iter().filter(|setting| setting.group == group).map(row));
    }
    page.push_str(&go_micro_section());
    for spec in services.iter().map(|builder| builder.spec()) {
        page.push_str(&service_section(spec, &table));
    }
    page
}

const INTRODUCTION: &str = "\
# Settings

<!-- Made from the table in crates/tidings/src/settings; `cargo xtask test` compares them. -->

Every setting can be given in four places. The first that gives it wins:

1. a flag, `--broker nats://localhost`, or `--broker=nats://localhost`; a switch is bare, `--require-auth`, or `--require-auth=false`
2. a variable, `TIDINGS_BROKER`
3. the file that `--config` names, in TOML by the names of the flags: `broker = \"nats://localhost\"`
4. the default

A flag, a `TIDINGS_` variable or a key of the file that there is not, and a value that is not allowed, end the program with one
line that says which and what is allowed. `--help` shows what a program has.

Times are written `250ms`, `30s`, `5m`, `24h`, `7d`, amounts of bytes `512`, `64KiB`, `16MiB`, `1GiB`. In a path or URL `<data>`
stands for `--data`, and `<service>` for the name that the program gives itself, whatever `--name` says. Port 0 takes a free port;
the line that is logged at the start says which. Logins in URLs, and settings that are secrets, are never printed.

Where one process runs several services, a setting goes to each that has it. `--users.broker`, `TIDINGS_USERS_BROKER`, and `broker`
under `[users]` in the file go to that one alone. `--name`, `--id`, `--database`, and an `--admin` whose port is not 0, have to name
their service there.
";

const HEAD: &str = "| flag | variable | takes | default | what it is |\n| --- | --- | --- | --- | --- |\n";

fn row(setting: &Setting) -> String {
    let default = match (&setting.fallback, setting.kind) {
        (Fallback::None, _) => "none".to_owned(),
        (Fallback::Value(_), Kind::Switch) if setting.default_shown() == Some("false") => "off".to_owned(),
        (Fallback::Value(value), _) => format!("`{value}`"),
        (Fallback::Made(what), _) => (*what).to_owned(),
    };
    let mut help = cell(setting.help);
    if let Some(name) = setting.go_micro {
        let flag = if name == setting.name { String::new() } else { format!("`--{name}`, ") };
        help.push_str(&format!(" (go-micro: {flag}`{}`)", go_micro::variable(name)));
    }
    let takes = match setting.kind {
        Kind::Choice(words) => words.join(" or "),
        kind => {
            format!("{}{}", kind.placeholder(), kind.range(setting.bounds).map_or(String::new(), |range| format!(", {range}")))
        }
    };
    format!("| `--{}` | `{}` | {} | {default} | {help} |\n", setting.name, variable(setting.name), cell(&takes))
}

/// With nothing that a table would take for its own.
fn cell(text: &str) -> String {
    let parts = text.replace('|', "\\|");
    // Between backticks it is not HTML anyway.
    parts
        .split('`')
        .enumerate()
        .map(|(place, part)| if place % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() })
        .collect::<Vec<_>>()
        .join("`")
}

fn go_micro_section() -> String {
    let passed_over: Vec<String> =
        go_micro::PASSED_OVER.iter().map(|name| format!("`--{name}` `{}`", go_micro::variable(name))).collect();
    format!(
        "\n## go-micro's names\n\n\
         The names in brackets above are taken too; where both are set, `TIDINGS_` wins. `:50051` as an address means every interface.\n\
         `--broker nats` or `MICRO_BROKER=nats`, with `--broker_address` or `MICRO_BROKER_ADDRESS` (`host:port,…`, by default\n\
         `127.0.0.1:4222`), means `nats://host:port,…?wire=go-micro`. Accepted, with one warning, as long as the part does not exist:\n\
         {}.\n\
         Any other `MICRO_` variable, and one that a service has no use for, is ignored with the same warning.\n",
        passed_over.join(", ")
    )
}

fn service_section(spec: &Spec, table: &[Setting]) -> String {
    let mut section = format!("\n## The {} service\n", spec.service);
    let of_table = |name: &str| table.iter().find(|setting| setting.name == name);
    let own: Vec<&Setting> = spec.settings.iter().filter(|setting| setting.group == Group::Own).collect();
    if !own.is_empty() {
        section.push_str(&format!("\n{HEAD}"));
        section.extend(own.into_iter().map(row));
    }
    let without: Vec<String> =
        table.iter().filter(|setting| spec.get(setting.name).is_none()).map(|setting| format!("`--{}`", setting.name)).collect();
    let mut notes: Vec<String> = spec
        .settings
        .iter()
        .filter_map(|setting| Some((setting, of_table(setting.name)?)))
        .filter(|(setting, general)| setting.fallback != general.fallback)
        .map(|(setting, _)| format!("The default of `--{}` is `{}`.", setting.name, setting.default_shown().unwrap_or("none")))
        .collect();
    if !without.is_empty() {
        notes.push(format!("It has no {}.", without.join(", ")));
    }
    if spec.tutorial_database {
        let names: Vec<String> = go_micro::DATABASE.iter().map(|name| format!("`{name}`")).collect();
        notes.push(format!(
            "Without `--database` and `TIDINGS_DATABASE`, the tutorial's {} name its Postgres database: the host is `host` or \
             `host:port`, the name is the user's when it is absent, `DB_PASSWORD` wins over `DB_PASS`.",
            names.join(", ")
        ));
    }
    for note in notes {
        section.push_str(&format!("\n{note}\n"));
    }
    section
}
