//! What became of the cases and what they measured, for `cargo xtask brokers-table`: where `SUITE_RESULTS` names a folder, a file
//! for each engine and list of cases in it with a line of JSON for each case.
//!
//! Runs add to what is there, and of two lines about a case the last one counts. Cases that take minutes are said not to have been
//! tried before any is, since whoever does not ask for them runs nothing of them; but only where nothing is said of them yet: a
//! runner may start a process for each case.
//!
//! Nothing here decides anything. The copies of a case under stress are not told.

use std::{
    collections::HashSet,
    env,
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    case::{Case, Need},
    runner::{List, Verdict},
};

const FOLDER: &str = "SUITE_RESULTS";
const NOT_TRIED: &str = "not tried";

/// Where one engine's results go; nowhere, mostly.
#[derive(Default)]
pub(super) struct Results(Option<Told>);

struct Told {
    file: Mutex<File>,
    list: &'static List,
}

impl Results {
    /// Begins, where results are asked for.
    pub(super) fn of(engine: &str, list: &'static List) -> Self {
        let Some(folder) = env::var_os(FOLDER) else { return Self::default() };
        Self::in_folder(Path::new(&folder), engine, list).expect("SUITE_RESULTS names a folder")
    }

    fn in_folder(folder: &Path, engine: &str, list: &'static List) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let path = folder.join(format!("{engine}.{}.jsonl", list.over));
        let file = File::options().create(true).append(true).open(&path)?;
        let known = cases_of(&fs::read_to_string(path)?);
        let results = Self(Some(Told { file: Mutex::new(file), list }));
        for case in list.cases().filter(|case| case.takes_minutes() && !known.contains(case.name)) {
            results.write(case, json!({ "verdict": NOT_TRIED }));
        }
        Ok(results)
    }

    pub(super) fn add(&self, case: &Case, lacks: Option<Need>, verdict: &Verdict, figures: &Figures) {
        let (verdict, why) = match verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(why) => ("failed", Some(why.as_str())),
            // The machine cannot show it, which says nothing of the engine.
            Verdict::DoesNotApply(why) if lacks == Some(Need::MemoryTold) => (NOT_TRIED, Some(*why)),
            Verdict::DoesNotApply(why) => ("does not apply", Some(*why)),
        };
        let seen = *figures.0.lock().unwrap_or_else(PoisonError::into_inner);
        let told = json!({
            "verdict": verdict,
            "why": why,
            "lacks": lacks.map(|need| format!("{need:?}")),
            "again": seen.again,
            "back_ms": seen.back.map(|back| back.as_millis()),
        });
        self.write(case, told);
    }

    fn write(&self, case: &Case, mut told: Value) {
        let Some(Told { file, list }) = &self.0 else { return };
        told["over"] = list.over.into();
        told["place"] = list.cases().position(|other| other.name == case.name).into();
        told["case"] = case.name.into();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{told}").expect("room for the results");
    }
}

/// The cases of which these lines tell.
fn cases_of(lines: &str) -> HashSet<String> {
    let told = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    told.filter_map(|told| told["case"].as_str().map(str::to_owned)).collect()
}

/// What a case measures on its way.
#[derive(Default)]
pub(super) struct Figures(Mutex<Seen>);

#[derive(Clone, Copy, Default)]
struct Seen {
    again: Option<usize>,
    back: Option<Duration>,
}

impl Figures {
    /// So many messages came again.
    pub(super) fn again(&self, count: usize) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.again = Some(seen.again.unwrap_or_default().max(count));
    }

    /// So long it took until things went on, after a server was back or an instance was gone.
    pub(super) fn back(&self, after: Duration) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.back = seen.back.max(Some(after));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::runner::BARE, *};

    #[test]
    fn what_became_of_a_long_case_stays_when_another_process_begins() {
        let folder = tempfile::TempDir::new().unwrap();
        let begin = || Results::in_folder(folder.path(), "engine", &BARE).unwrap();
        let long = BARE.cases().find(|case| case.takes_minutes()).unwrap();
        let last = || {
            let text = fs::read_to_string(folder.path().join("engine.trait.jsonl")).unwrap();
            let mut told = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            told.rfind(|told| told["case"] == long.name).unwrap()["verdict"].clone()
        };
        let first = begin();
        assert_eq!(last(), NOT_TRIED);
        first.add(long, None, &Verdict::Passed, &Figures::default());
        begin();
        assert_eq!(last(), "passed");
    }
}
