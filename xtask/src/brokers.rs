//! The table in docs/brokers.md: what the suite says of each broker, written there or compared with what is there.

use crate::run::{cargo, root, run, target};
use crate::table::{ENGINES, promises, table};
use crate::{needs, soak};
use anyhow::{Context as _, Result, bail};
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

const PAGE: &str = "docs/brokers.md";
const BEGIN: &str = "<!-- made by `cargo xtask brokers-table` -->\n";
const END: &str = "<!-- end of the table -->";

/// Names the folder to which the suite writes.
pub(crate) const VARIABLE: &str = "SUITE_RESULTS";

/// Where the suite's results go.
pub(crate) fn folder() -> PathBuf {
    target().join("suite")
}

/// Runs the suite on each broker, and writes the table.
///
/// # Errors
/// When something is missing that the tests need, a case fails, or the page cannot be written.
pub(crate) fn write() -> Result<()> {
    needs::install_what_is_missing()?;
    forget()?;
    let mut tests = cargo(&["test", "--no-fail-fast"]);
    tests.args(["-p", "tidings-memory", "-p", "tidings-sql", "-p", "tidings-nats", "-p", "tidings-testing"]);
    tests.args(["--test", "conformance", "--test", "conformance_core", "--test", "conformance_jetstream", "--test", "loop"]);
    run(tests.env("REQUIRE_SERVERS", "1").env(VARIABLE, folder()))?;
    run(soak::long_cases().env(VARIABLE, folder()))?;
    let page = Page::read()?;
    let Some(made) = page.anew()? else { bail!("the suite wrote no results below {}", folder().display()) };
    fs::write(root().join(PAGE), page.with(&made)).context(PAGE)
}

/// Whether the table is what the suite said in the test run that has just been.
///
/// # Errors
/// When it is not.
pub(crate) fn compare() -> Result<()> {
    let page = Page::read()?;
    match page.anew()? {
        None => println!("skipped: the table in {PAGE}, for not every broker's suite has run"),
        Some(made) if made == page.table => println!("the table in {PAGE} is what the suite says"),
        // A slow machine is no reason to fail.
        Some(made) if promises(&made) == promises(&page.table) => {
            println!(
                "the table in {PAGE} is what the suite says, but worse times or counts were seen than it has: `cargo xtask brokers-table` writes them"
            );
        }
        Some(made) => {
            let news = made.lines().filter(|line| !page.table.lines().any(|other| other == *line));
            bail!(
                "{PAGE} is not what the suite says; `cargo xtask brokers-table` writes it. It would say:\n{}",
                news.collect::<Vec<_>>().join("\n")
            );
        }
    }
    Ok(())
}

/// Takes away what an earlier run wrote.
///
/// # Errors
/// When it stays.
pub(crate) fn forget() -> Result<()> {
    match fs::remove_dir_all(folder()) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context("the results of an earlier run"),
        _ => Ok(()),
    }
}

/// What an engine's cases said, those over the bare trait and those over the loop; nothing, unless both are there.
fn results_of(engine: &str) -> String {
    let of = |over| fs::read_to_string(folder().join(format!("{engine}.{over}.jsonl"))).unwrap_or_default();
    let both = ["trait", "loop"].map(of);
    if both.iter().any(String::is_empty) { String::new() } else { both.concat() }
}

/// The page, cut around the table.
struct Page {
    above: String,
    table: String,
    below: String,
}

impl Page {
    fn read() -> Result<Self> {
        let text = fs::read_to_string(root().join(PAGE)).context(PAGE)?;
        let parts = text.split_once(BEGIN).and_then(|(above, rest)| Some((above, rest.split_once(END)?)));
        let (above, (table, below)) = parts.with_context(|| format!("{PAGE} has no place for the table"))?;
        Ok(Self { above: above.to_owned(), table: table.to_owned(), below: below.to_owned() })
    }

    /// The table of the results that there are; `None` when those of a broker are missing.
    fn anew(&self) -> Result<Option<String>> {
        let results = ENGINES.map(results_of);
        if results.iter().any(|lines| lines.is_empty() || lines.contains("its server is not installed")) {
            return Ok(None);
        }
        table(results.each_ref().map(String::as_str), &self.table).map(Some)
    }

    fn with(&self, table: &str) -> String {
        let Self { above, below, .. } = self;
        format!("{above}{BEGIN}{table}{END}{below}")
    }
}
