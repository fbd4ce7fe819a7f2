//! What is logged and how: `tracing`, as text or JSON, on standard error.
//!
//! Here: the subscriber of a program that has none of its own. Not here: the spans that carry a trace's id; those of calls are in
//! `rpc`, those of deliveries in `delivery`.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::settings::{Settings, SettingsError};

/// Begins logging as `--log` and `--log-format` say, unless the program has a subscriber already.
pub(crate) fn init(settings: &Settings) -> Result<(), SettingsError> {
    let json = settings.get::<String>("log-format")? == "json";
    let filter = filter(settings)?;
    // An error means that there is one already: the program's own, or that of the process's first service.
    let _ = tracing_subscriber::registry().with(filter).with(layer(json)).try_init();
    Ok(())
}

fn layer(json: bool) -> Box<dyn Layer<Filtered> + Send + Sync> {
    let layer = fmt::layer().with_writer(std::io::stderr);
    if json {
        // The list has the outermost span too, which is the one with the trace's id.
        return layer.json().flatten_event(true).with_current_span(false).with_span_list(true).boxed();
    }
    layer.with_ansi(std::io::stderr().is_terminal()).boxed()
}

type Filtered = tracing_subscriber::layer::Layered<EnvFilter, Registry>;

/// Reads `--log`.
fn filter(settings: &Settings) -> Result<EnvFilter, SettingsError> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    const ALLOWED: &str = "error, warn, info, debug, trace, off, or TARGET=LEVEL, joined by commas";
    let log: String = settings.get("log")?;
    let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
    // To the filter a word that is no level is a target, all of whose lines are logged.
    if !log.split(',').all(|part| is_level(part.rsplit('=').next().unwrap_or(part).trim())) {
        return Err(settings.refuse("log", ALLOWED));
    }
    // Spans with a trace's id are errors, so that every line inside them has it; a filter for one target alone would drop them.
    EnvFilter::builder().parse(format!("error,{log}")).map_err(|_| settings.refuse("log", ALLOWED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Spec;

    fn read(log: &str) -> Result<String, String> {
        let spec = Spec::new("s", "1");
        let flags = [("log".to_owned(), log.to_owned())].into();
        let settings = crate::settings::resolve(&[spec], flags, []).unwrap().settings.remove(0);
        filter(&settings).map(|filter| filter.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_level_or_a_level_for_each_target_is_allowed() {
        for log in ["info", "WARN", "off", "info,sqlx=warn", "email=debug", "email[call]=debug"] {
            assert!(read(log).is_ok(), "{log}: {:?}", read(log));
        }
        for log in ["inof", "info,email", "email=loud", ","] {
            assert!(read(log).unwrap_err().starts_with(&format!("--log {log} is not allowed: error, warn")), "{log}");
        }
    }
}
