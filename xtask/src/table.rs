//! The table of docs/brokers.md as text: from the suite's results, and from the table that is there.
//!
//! What varies from run to run stands in classes, and the worse of what was seen now and before stays: so the table is
//! the same after each run, until a broker is worse than it says. Of a case that was not tried, what it says stays as well.
//! Nothing here reads or writes files.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub(crate) const ENGINES: [&str; 4] = ["memory", "sqlite", "nats", "jetstream"];

/// In how many seconds things go on after a server is back or an instance is gone.
const CLASSES: [u64; 4] = [5, 15, 30, 60];

/// What a case told of one engine.
#[derive(Debug, Clone, Default, PartialEq)]
struct Told {
    verdict: String,
    why: Option<String>,
    lacks: Option<String>,
    figures: Figures,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Figures {
    again: Option<bool>,
    seconds: Option<u64>,
}

impl Figures {
    fn worse(self, other: Self) -> Self {
        Self { again: self.again.max(other.again), seconds: self.seconds.max(other.seconds) }
    }

    fn shown(self) -> String {
        let again = self.again.map_or("", |some| if some { ", some again" } else { ", none again" });
        self.seconds.map_or_else(|| again.to_owned(), |seconds| format!("{again}, ≤ {seconds} s"))
    }

    /// The other way.
    fn of_cell(cell: &str) -> Self {
        let again = if cell.contains("some again") { Some(true) } else { cell.contains("none again").then_some(false) };
        let seconds = cell.split_once("≤ ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        Self { again, seconds }
    }
}

/// Which case: the bare trait's come first, each kind in the suite's order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Case {
    over_the_loop: bool,
    place: u64,
    name: String,
}

/// What the suite wrote, by case, for each engine.
type Results = BTreeMap<Case, [Told; ENGINES.len()]>;

/// The table of these results, each engine's as lines of JSON; `before` is the one that is there.
///
/// # Errors
/// When the results cannot be read, or a case failed.
pub(crate) fn table(results: [&str; ENGINES.len()], before: &str) -> Result<String> {
    let mut all = Results::new();
    for (engine, lines) in results.into_iter().enumerate() {
        for line in lines.lines() {
            let line: Value = serde_json::from_str(line).context("a line of the suite's results")?;
            let (case, told) = told(&line)?;
            if told.verdict == "failed" {
                bail!("{} on {}: {}", case.name, ENGINES[engine], told.why.unwrap_or_default());
            }
            all.entry(case).or_default()[engine] = told;
        }
    }
    let mut notes = Notes(Vec::new());
    let mut text = format!("| case | {} |\n|{}\n", ENGINES.map(|engine| format!("`{engine}:`")).join(" | "), " --- |".repeat(5));
    let (mut room, mut over_the_loop) = ("", false);
    for (case, row) in &all {
        if case.over_the_loop && !over_the_loop {
            text.push_str("| **Over the framework's loop** | | | | |\n");
            over_the_loop = true;
        }
        let (of, promise) = case.name.split_once("::").unwrap_or(("", &case.name));
        if of != room {
            let _ = writeln!(text, "| **{of}** | | | | |");
            room = of;
        }
        let promise = promise.replace('_', " ");
        let cells = cells_of(before, &promise);
        let _ = write!(text, "| {promise} |");
        for (told, cell) in row.iter().zip(cells) {
            let _ = write!(text, " {} |", notes.cell(told, cell));
        }
        text.push('\n');
    }
    text.push('\n');
    for (place, note) in notes.0.iter().enumerate() {
        let _ = writeln!(text, "{}. {note}", place + 1);
    }
    Ok(text)
}

/// The table without what varies from run to run.
pub(crate) fn promises(table: &str) -> String {
    let cell = |cell: &str| if cell.trim_start().starts_with('✓') { " ✓ ".to_owned() } else { cell.to_owned() };
    table.lines().map(|line| line.split('|').map(cell).collect::<Vec<_>>().join("|") + "\n").collect()
}

fn told(line: &Value) -> Result<(Case, Told)> {
    let text = |name: &str| line[name].as_str().map(str::to_owned);
    let (place, name) = line["place"].as_u64().zip(text("case")).context("a result without a case")?;
    let case = Case { over_the_loop: line["over"] == "loop", place, name };
    let back = line["back_ms"].as_u64().map(|ms| ms.div_ceil(1_000));
    let figures = Figures {
        again: line["again"].as_u64().map(|count| count > 0),
        seconds: back.map(|back| CLASSES.into_iter().find(|class| back <= *class).unwrap_or(back)),
    };
    let verdict = text("verdict").context("a result without a verdict")?;
    Ok((case, Told { verdict, why: text("why"), lacks: text("lacks"), figures }))
}

fn cells_of<'a>(table: &'a str, promise: &str) -> [&'a str; ENGINES.len()] {
    let row = table.lines().find_map(|line| line.strip_prefix("| ")?.strip_prefix(promise)?.strip_prefix(" |"));
    let mut cells = row.unwrap_or_default().split('|');
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

/// What stands below the table, each once.
struct Notes(Vec<String>);

impl Notes {
    fn cell(&mut self, told: &Told, before: &str) -> String {
        let before = before.trim();
        if told.verdict == "not tried" && before.starts_with('✓') {
            return before.to_owned();
        }
        if told.verdict == "passed" {
            return format!("✓{}", told.figures.worse(Figures::of_cell(before)).shown());
        }
        let why = told.why.clone().unwrap_or_else(|| "it was not tried".to_owned());
        match told.lacks.as_deref().and_then(supplied) {
            Some(how) => format!("framework ({})", self.note(format!("{why}: {how}"))),
            None => format!("– ({})", self.note(why)),
        }
    }

    fn note(&mut self, text: String) -> usize {
        let place = self.0.iter().position(|other| *other == text).unwrap_or_else(|| {
            self.0.push(text);
            self.0.len() - 1
        });
        place + 1
    }
}

/// What the framework does itself where an engine cannot, by what the case needs.
fn supplied(lacks: &str) -> Option<&'static str> {
    match lacks {
        "Delay" => Some("a retry waits in the process, and is lost with it"),
        "Recognition" => Some("`Tx` and `Dedup` do, in the service's database"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSED: &str = r#"{"place":1,"case":"a::b_c","verdict":"passed","why":null,"lacks":null,"again":0,"back_ms":900}"#;
    const SLOW: &str = r#"{"place":1,"case":"a::b_c","verdict":"passed","why":null,"lacks":null,"again":3,"back_ms":9000}"#;
    const ABSENT: &str = r#"{"place":1,"case":"a::b_c","verdict":"does not apply","why":"it has none","lacks":"Groups","again":null,"back_ms":null}"#;
    const SUPPLIED: &str = r#"{"place":1,"case":"a::b_c","verdict":"does not apply","why":"nothing waits","lacks":"Delay","again":null,"back_ms":null}"#;

    #[test]
    fn a_cell_says_passed_or_why_not_or_who_does_it() {
        let table = table([PASSED, SLOW, ABSENT, SUPPLIED], "").unwrap();
        let row = "| b c | ✓, none again, ≤ 5 s | ✓, some again, ≤ 15 s | – (1) | framework (2) |\n";
        assert!(table.contains("| **a** | | | | |\n") && table.contains(row), "{table}");
        assert!(table.contains("1. it has none\n2. nothing waits: a retry waits"), "{table}");
    }

    #[test]
    fn what_is_over_the_loop_stands_below_a_line_that_says_so() {
        let line = PASSED.replace("\"place\":1,\"case\":\"a::", "\"over\":\"loop\",\"place\":0,\"case\":\"d::");
        let table = table([&format!("{line}\n{PASSED}"), "", "", ""], "").unwrap();
        let at = |text: &str| table.find(text).unwrap();
        assert!(
            at("**a**") < at("**Over the framework's loop**") && at("**Over the framework's loop**") < at("**d**"),
            "{table}"
        );
    }

    #[test]
    fn a_table_stays_as_it_is_until_something_is_worse() {
        let slow = table([SLOW, PASSED, ABSENT, SUPPLIED], "").unwrap();
        let again = table([PASSED, PASSED, ABSENT, SUPPLIED], &slow).unwrap();
        assert_eq!(again, slow);
        let worse = table([PASSED, SLOW, ABSENT, SUPPLIED], &slow).unwrap();
        assert_ne!(worse, slow);
    }

    #[test]
    fn what_varies_is_no_promise() {
        let [quick, slow] = [PASSED, SLOW].map(|first| table([first, PASSED, ABSENT, SUPPLIED], "").unwrap());
        assert_ne!(quick, slow);
        assert_eq!(promises(&quick), promises(&slow));
        assert_ne!(promises(&quick), promises(&table([ABSENT, PASSED, ABSENT, SUPPLIED], "").unwrap()));
    }

    const NOT_TRIED: &str = r#"{"place":1,"case":"a::b_c","verdict":"not tried"}"#;

    #[test]
    fn what_was_not_tried_stays_as_it_is() {
        let before = table([PASSED, SLOW, ABSENT, SUPPLIED], "").unwrap();
        assert_eq!(table([NOT_TRIED, NOT_TRIED, ABSENT, SUPPLIED], &before).unwrap(), before);
        let worse = table([NOT_TRIED, ABSENT, ABSENT, SUPPLIED], &before).unwrap();
        assert!(worse.contains("| b c | ✓, none again, ≤ 5 s | – (1) | – (1) |"), "{worse}");
    }

    #[test]
    fn what_was_not_tried_has_its_row_all_the_same() {
        let missing = table([NOT_TRIED; 4], "").unwrap();
        assert!(missing.contains("| b c | – (1) | – (1) |") && missing.contains("1. it was not tried"), "{missing}");
        assert_ne!(promises(&missing), promises(&table([PASSED; 4], "").unwrap()));
    }

    #[test]
    fn the_last_word_about_a_case_counts() {
        let both = format!("{NOT_TRIED}\n{PASSED}");
        assert_eq!(table([&both, SLOW, SLOW, SLOW], "").unwrap(), table([PASSED, SLOW, SLOW, SLOW], "").unwrap());
    }

    #[test]
    fn a_failed_case_makes_no_table() {
        let failed = PASSED.replace("passed", "failed");
        assert!(table([&failed, PASSED, PASSED, PASSED], "").is_err());
    }
}
