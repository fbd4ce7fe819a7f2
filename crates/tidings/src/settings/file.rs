//! The settings file: TOML, by the names of the flags; a table for each service where several share a process.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use toml::{Table, Value};

use super::{SettingsError, error::Hint};

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// Reads the file into the forms that flags have (`users.admin`), each of which is `known`.
pub(super) fn read(path: &Path, known: &BTreeSet<String>) -> Result<BTreeMap<String, String>, SettingsError> {
    let fail = |source| SettingsError::File { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(fail)?.len();
    if size > MAX_SIZE {
        return Err(fail(std::io::Error::other(format!("it has {size} bytes, and {MAX_SIZE} are read at most"))));
    }
    let text = std::fs::read_to_string(path).map_err(fail)?;
    let table: Table = toml::from_str(&text).map_err(|error| SettingsError::Syntax {
        path: path.to_owned(),
        // The error's own text quotes the line, which may hold a password.
        line: error
            .span()
            .map_or(1, |span| 1 + text.as_bytes()[..span.start.min(text.len())].iter().filter(|b| **b == b'\n').count()),
        reason: error.message().replace('\n', ", "),
    })?;
    let mut values = BTreeMap::new();
    flatten(&table, "", &mut values).map_err(|key| SettingsError::Value {
        what: format!("{key} in {}", path.display()),
        allowed: "a text, a whole number, true or false".to_owned(),
    })?;
    match values.keys().find(|key| !known.contains(*key) || *key == "config") {
        None => Ok(values),
        Some(key) => {
            let hint = Hint::nearest(key, known.iter().map(String::as_str));
            Err(SettingsError::Unknown { what: format!("setting {key} in {}", path.display()), hint })
        }
    }
}

/// The error is the key whose value has no form that a setting could have.
fn flatten(table: &Table, prefix: &str, values: &mut BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(on) => on.to_string(),
            Value::Table(table) => {
                flatten(table, &format!("{key}."), values)?;
                continue;
            }
            Value::Float(_) | Value::Datetime(_) | Value::Array(_) => return Err(key),
        };
        values.insert(key, text);
    }
    Ok(())
}
