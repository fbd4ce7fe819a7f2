//! What is logged and how: `tracing`, as text or JSON, on standard error.
//!
//! Here: the subscriber of a program that has none of its own. Not here: the spans that carry a trace's id; those of calls are in
//! `rpc`, those of deliveries in `delivery`, which are made here when there is a line to write.

mod late;

use std::io::IsTerminal;

pub(crate) use late::makes_spans;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    fmt::{self, MakeWriter},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use crate::settings::{Settings, SettingsError};

/// Begins logging as `--log` and `--log-format` say, unless the program has a subscriber already.
pub(crate) fn init(settings: &Settings) -> Result<(), SettingsError> {
    let json = settings.get::<String>("log-format")? == "json";
    let colours = std::io::stderr().is_terminal();
    let subscriber = subscriber(filter(settings)?, json, colours, std::io::stderr).with(late::MakesSpans);
    // An error means that there is one already: the program's own, or that of the process's first service.
    let _ = subscriber.try_init();
    Ok(())
}

fn subscriber<W>(filter: EnvFilter, json: bool, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_writer(writer);
    let layer = if json {
        // The list has the outermost span too, which is the one with the trace's id.
        layer.json().flatten_event(true).with_current_span(false).with_span_list(true).map_event_format(late::Late).boxed()
    } else {
        layer.with_ansi(colours).map_event_format(late::Late).boxed()
    };
    tracing_subscriber::registry().with(filter).with(layer)
}

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
    // The NATS client tells at `info` what the broker tells too, in the words of its own, and Postgres at every start that tables are
    // there already; a part of `log` for them counts more.
    EnvFilter::builder()
        .parse(format!("error,async_nats=warn,sqlx::postgres::notice=warn,{log}"))
        .map_err(|_| settings.refuse("log", ALLOWED))
}

#[cfg(test)]
mod tests;
