//! docs/settings.md says what the table of settings says.

use std::{env, fs, path::Path};

/// To write it anew: `SETTINGS_PAGE=write cargo test --test settings`.
#[test]
fn the_committed_page_is_what_the_table_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let made = tidings::settings::document(&[&users::builder(), &email::builder()]);
    if env::var_os("SETTINGS_PAGE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).position(|(one, other)| one != other);
    assert!(
        committed == made,
        "docs/settings.md differs from line {differs:?} on: `SETTINGS_PAGE=write cargo test --test settings`"
    );
}
