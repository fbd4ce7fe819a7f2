//! The settings that only this service has, and what they are worth together.

use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use tidings::Retry;
use tidings::settings::{Setting, Settings, SettingsError};

use crate::mailer::{Limits, sender};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// The lines that this service adds to the table.
pub(crate) fn table() -> [Setting; 7] {
    [
        Setting::url("mail")
            .default("file:<data>/mail")
            .help("Where mail goes: file:FOLDER for .eml files, smtp://[USER:PASSWORD@]HOST[:PORT][?tls=required|off][&ca=FILE], or smtps://…"),
        Setting::text("mail-from").default("welcome@localhost").help("Whom mail is from: an address, or a name and one: Tidings <welcome@example.com>"),
        Setting::path("templates")
            .help("A folder whose welcome.subject.txt, welcome.txt and welcome.html replace the built-in templates"),
        Setting::duration("mail-timeout")
            .default("20s")
            .between(SECOND / 10, DAY)
            .help("How long a mail server may take for one mail; less than --handler-timeout"),
        Setting::duration("mail-retry-first").default("1s").between(SECOND / 100, DAY).help("The wait before a mail is tried a second time; each further one is twice as long"),
        Setting::duration("mail-retry-longest").default("15m").between(SECOND / 100, DAY).help("The longest wait between two tries"),
        Setting::duration("mail-retry-for")
            .default("24h")
            .between(SECOND, DAY * 7)
            .help("How long after its event a mail is tried; then it is a dead letter"),
    ]
}

/// The values, checked against each other.
#[derive(Debug)]
pub(crate) struct MailSettings {
    pub(crate) url: String,
    pub(crate) from: Mailbox,
    pub(crate) templates: Option<PathBuf>,
    pub(crate) limits: Limits,
    pub(crate) retry: Retry,
}

impl MailSettings {
    /// # Errors
    /// When a value is not allowed; the error names the setting.
    pub(crate) fn read(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self {
            url: settings.get("mail")?,
            from: from(settings)?,
            templates: settings.get("templates")?,
            limits: limits(settings)?,
            retry: retry(settings)?,
        })
    }
}

fn from(settings: &Settings) -> Result<Mailbox, SettingsError> {
    let text: String = settings.get("mail-from")?;
    sender(&text).map_err(|_| settings.refuse("mail-from", "an e-mail address, or a name and one: Tidings <welcome@example.com>"))
}

fn limits(settings: &Settings) -> Result<Limits, SettingsError> {
    let timeout = settings.get("mail-timeout")?;
    let handler: Duration = settings.get("handler-timeout")?;
    if timeout >= handler {
        return Err(settings.refuse("mail-timeout", "less than --handler-timeout, which ends the attempt first otherwise"));
    }
    Ok(Limits { timeout, idle: settings.get("concurrency")? })
}

fn retry(settings: &Settings) -> Result<Retry, SettingsError> {
    let (first, longest) = (settings.get("mail-retry-first")?, settings.get("mail-retry-longest")?);
    if longest < first {
        return Err(settings.refuse("mail-retry-longest", "at least --mail-retry-first"));
    }
    Ok(Retry::exponential(first, longest).for_at_most(settings.get("mail-retry-for")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [(&str, &str); 0] = [];

    fn read(arguments: &[&str]) -> Result<MailSettings, String> {
        let arguments = ["email"].iter().chain(arguments).copied();
        let service = crate::builder().arguments(arguments).environment(NOTHING).init();
        let service = service.map_err(|error| error.to_string())?;
        MailSettings::read(service.settings()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let settings = read(&[]).unwrap();
        assert_eq!((settings.url.as_str(), settings.from.to_string()), ("file:data/mail", "welcome@localhost".to_owned()));
        assert_eq!((settings.templates, settings.limits.idle, settings.limits.timeout), (None, 8, SECOND * 20));
        assert_eq!(settings.retry, Retry::exponential(SECOND, SECOND * 900).for_at_most(DAY));
    }

    #[test]
    fn a_value_that_is_not_allowed_is_named_with_the_way_out() {
        for (arguments, says) in [
            (&["--mail-from", "nobody"][..], "--mail-from nobody is not allowed: an e-mail address"),
            (&["--mail-timeout", "30s"], "--mail-timeout 30s is not allowed: less than --handler-timeout"),
            (&["--mail-retry-first", "1h"], "at least --mail-retry-first"),
            (&["--mail-retry-for", "999d"], "--mail-retry-for 999d is not allowed"),
            (&["--address", ":50054"], "unknown flag --address"),
        ] {
            let error = read(arguments).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
