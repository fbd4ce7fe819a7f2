//! The command line: what it accepts, what it says about itself, what is read from it.

use std::{collections::BTreeMap, ffi::OsString};

use clap::{
    Arg, ArgAction, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

use super::{
    SettingsError,
    error::Hint,
    go_micro,
    setting::{Group, Reach, Setting},
    spec::{Spec, check, own_form, variable},
    value::{Kind, shown_url},
};

/// Flags and their values, without the `--`.
pub(crate) type Flags = BTreeMap<String, String>;

/// Why there are no flags to go on with.
#[derive(Debug)]
pub(crate) enum NoFlags {
    /// The help or the version was asked for.
    Asked(clap::Error),
    /// They are wrong.
    Wrong(SettingsError),
}

/// The command line of these services in one process.
pub(crate) fn command(specs: &[Spec]) -> Command {
    let together = specs.len() > 1;
    let (name, version, about) = match specs {
        [spec] => (spec.service.to_owned(), spec.version, spec.about),
        // Clap prints the name, a blank, the version.
        [first @ .., last] => {
            let first: String = first.iter().map(|spec| format!("{} {}, ", spec.service, spec.version)).collect();
            (format!("{first}{}", last.service), last.version, "")
        }
        [] => (String::new(), "", ""),
    };
    let mut command = Command::new(name).version(version).about(about).next_line_help(true).after_help(after_help(specs));
    let mut known: Vec<&str> = Vec::new();
    for setting in specs.iter().flat_map(|spec| &spec.settings) {
        if known.contains(&setting.name) {
            continue;
        }
        known.push(setting.name);
        let who = if together { only_for(specs, setting) } else { String::new() };
        let hidden = together && setting.reach == Reach::One;
        let default = same_default(specs, setting);
        command = command.arg(
            arg(setting, setting.name.to_owned())
                .help(help(setting, &who, default, &variable(setting.name), !together || setting.reach != Reach::One))
                .help_heading(heading(specs, setting))
                .hide(hidden),
        );
    }
    if together {
        for spec in specs {
            command = own_forms(command, spec);
        }
    }
    go_micro_args(command, specs)
}

/// The forms that reach one service of several.
fn own_forms(mut command: Command, spec: &Spec) -> Command {
    for setting in spec.settings.iter().filter(|setting| setting.reach != Reach::Process) {
        let form = own_form(spec, setting);
        let help = help(setting, "", setting.default_shown(), &variable(&form), false);
        command = command.arg(
            arg(setting, form)
                .help(help)
                .help_heading(format!("For {} alone", spec.service))
                // The others are said once, above.
                .hide(setting.reach != Reach::One),
        );
    }
    command
}

fn go_micro_args(mut command: Command, specs: &[Spec]) -> Command {
    let theirs = specs.iter().flat_map(|spec| &spec.settings).filter_map(|setting| setting.go_micro);
    let mut known: Vec<&str> = Vec::new();
    for name in theirs.chain([go_micro::BROKER_ADDRESS]).chain(go_micro::PASSED_OVER) {
        let ours = specs.iter().any(|spec| spec.get(name).is_some());
        if !ours && !known.contains(&name) {
            known.push(name);
            command = command.arg(Arg::new(name).long(name).num_args(1).hide(true));
        }
    }
    command
}

fn arg(setting: &Setting, form: String) -> Arg {
    let arg = Arg::new(form.clone()).long(form).action(ArgAction::Set).value_name(setting.kind.placeholder());
    match setting.kind {
        // The value only by `=`, or the switch would swallow the next argument.
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg.num_args(1),
    }
}

fn heading(specs: &[Spec], setting: &Setting) -> String {
    let owner = specs.iter().find(|spec| spec.get(setting.name).is_some());
    match (setting.group, owner) {
        (Group::Own, Some(spec)) => format!("Of {}", spec.service),
        (group, _) => group.title().to_owned(),
    }
}

fn help(setting: &Setting, who: &str, default: Option<&str>, variable: &str, theirs: bool) -> String {
    let mut help = format!("{}{who}\n[{variable}]", setting.help);
    if let Some(name) = setting.go_micro.filter(|_| theirs) {
        let variable = go_micro::variable(name);
        help.push_str(&if name == setting.name { format!(" [{variable}]") } else { format!(" [--{name}, {variable}]") });
    }
    if let Some(default) = default {
        help.push_str(&format!(" [default: {default}]"));
    }
    help
}

/// Who has the setting, when not all have it.
fn only_for(specs: &[Spec], setting: &Setting) -> String {
    let having: Vec<&str> = specs.iter().filter(|spec| spec.get(setting.name).is_some()).map(|spec| spec.service).collect();
    if having.len() == specs.len() || setting.group == Group::Own { String::new() } else { format!(" ({})", having.join(", ")) }
}

/// The default, unless it differs among those that have the setting.
fn same_default<'a>(specs: &'a [Spec], setting: &'a Setting) -> Option<&'a str> {
    let mut having = specs.iter().filter_map(|spec| spec.get(setting.name)).map(Setting::default_shown);
    let first = having.next().flatten();
    having.all(|other| other == first).then_some(first).flatten()
}

fn after_help(specs: &[Spec]) -> String {
    let mut text =
        "A flag wins over the variable in brackets, a variable over the file that --config names, the file over the default.\n\
        Times are written 250ms, 30s, 5m, 24h; bytes 512, 64KiB, 16MiB, 1GiB. In paths and URLs <data> is --data."
            .to_owned();
    if let [first, .., last] = specs {
        text.push_str(&format!(
            "\nEvery setting can be said to one service alone: --{0}.broker, TIDINGS_{1}_BROKER, or in the file under [{0}]; so for {2}.",
            first.service,
            super::spec::upper("", first.service),
            last.service,
        ));
    }
    if let Some(spec) = specs.iter().find(|spec| spec.tutorial_database) {
        let names = go_micro::DATABASE.join(", ");
        text.push_str(&format!(
            "\nWhere nothing else names the database of {}, the variables {names} do: a Postgres one.",
            spec.service
        ));
    }
    text.push_str(&format!(
        "\nOf go-micro's flags and variables, --{} are accepted and do nothing yet.",
        go_micro::PASSED_OVER.join(", --")
    ));
    text
}

/// Reads a command line; the first of `args` is the program.
pub(crate) fn parse(specs: &[Spec], args: impl IntoIterator<Item = OsString>) -> Result<Flags, NoFlags> {
    check(specs).map_err(NoFlags::Wrong)?;
    let matches = command(specs).try_get_matches_from(args).map_err(|error| refuse(specs, error))?;
    Ok(read(specs, &matches))
}

/// What was given on a command line that somebody else has parsed.
pub(crate) fn read(specs: &[Spec], matches: &ArgMatches) -> Flags {
    let mut flags = Flags::new();
    for id in command(specs).get_arguments().map(Arg::get_id) {
        if let Ok(Some(value)) = matches.try_get_one::<String>(id.as_str())
            && matches.value_source(id.as_str()) == Some(ValueSource::CommandLine)
        {
            flags.insert(id.to_string(), value.clone());
        }
    }
    flags
}

/// Clap's errors are several lines; ours are one.
fn refuse(specs: &[Spec], error: clap::Error) -> NoFlags {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) => texts.first().cloned(),
        _ => None,
    };
    let flag = context(ContextKind::InvalidArg).unwrap_or_default();
    // Clap names the flag with its placeholder: `--broker <URL>`.
    let flag = flag.split([' ', '=']).next().unwrap_or_default().to_owned();
    NoFlags::Wrong(match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => return NoFlags::Asked(error),
        ErrorKind::UnknownArgument => {
            // An argument that follows an unknown flag may be a URL with a login.
            let what = if flag.starts_with('-') { format!("flag {flag}") } else { format!("argument {}", shown_url(&flag)) };
            let flags: Vec<String> = command(specs)
                .get_arguments()
                .filter(|arg| !arg.is_hide_set())
                .filter_map(|arg| arg.get_long().map(|long| format!("--{long}")))
                .collect();
            SettingsError::Unknown { what, hint: Hint::nearest(&flag, flags.iter().map(String::as_str)) }
        }
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::NoEquals => {
            let name = flag.trim_start_matches('-');
            let setting = specs.iter().find_map(|spec| spec.get(name.rsplit('.').next().unwrap_or(name)));
            let allowed = setting.map_or_else(|| "a text".to_owned(), Setting::allowed);
            SettingsError::NoValue { flag, allowed }
        }
        ErrorKind::ArgumentConflict => SettingsError::Twice { flag },
        ErrorKind::InvalidUtf8 => SettingsError::Arguments("an argument is not UTF-8".to_owned()),
        _ => {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            SettingsError::Arguments(line.strip_prefix("error: ").unwrap_or(line).to_owned())
        }
    })
}
