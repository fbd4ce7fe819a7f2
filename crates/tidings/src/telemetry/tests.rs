use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use super::*;
use crate::settings::Spec;

fn read(log: &str) -> Result<EnvFilter, String> {
    let spec = Spec::new("s", "1");
    let flags = [("log".to_owned(), log.to_owned())].into();
    let settings = crate::settings::resolve(&[spec], flags, []).unwrap().settings.remove(0);
    filter(&settings).map_err(|error| error.to_string())
}

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that are logged by `f`.
fn logged(log: &str, json: bool, f: impl FnOnce()) -> Vec<String> {
    let written = Written::default();
    let writer = written.clone();
    tracing::subscriber::with_default(subscriber(read(log).unwrap(), json, false, move || writer.clone()), f);
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn a_level_or_a_level_for_each_target_is_allowed() {
    for log in ["info", "WARN", "off", "info,sqlx=warn", "email=debug", "email[call]=debug"] {
        assert!(read(log).is_ok(), "{log}: {:?}", read(log).err());
    }
    for log in ["inof", "info,email", "email=loud", ","] {
        assert!(read(log).unwrap_err().starts_with(&format!("--log {log} is not allowed: error, warn")), "{log}");
    }
}

#[test]
fn what_is_off_or_below_the_level_is_not_logged() {
    let both = || {
        tracing::error!("bad");
        tracing::info!("good");
    };
    assert_eq!(logged("info", false, both).len(), 2);
    assert_eq!(logged("warn", false, both).len(), 1);
    assert!(logged("off", false, both).is_empty());
}

#[test]
fn every_line_within_a_span_has_its_trace_whatever_is_logged() {
    let work = || {
        let call = tracing::error_span!(target: "tidings::rpc", "call", trace_id = "4bf9");
        call.in_scope(|| tracing::info_span!("inner").in_scope(|| tracing::warn!(target: "email", "nearly full")));
    };
    for log in ["info", "warn", "email=debug"] {
        let lines = logged(log, true, work);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["message"], &line["level"]), (&"nearly full".into(), &"WARN".into()));
        assert_eq!(line["spans"][0]["trace_id"], "4bf9", "{log}: {line}");
        let lines = logged(log, false, work);
        assert!(lines[0].contains(r#"trace_id="4bf9""#) && lines[0].contains("nearly full"), "{lines:?}");
    }
}
