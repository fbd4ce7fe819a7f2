//! What became of the cases and what they measured, for `cargo xtask brokers-table`: where `SUITE_RESULTS` names a folder, a file
//! for each engine and list of cases in it with a line of JSON for each case.
//!
//! Runs add to what is there, and of two lines about a case the last one counts: cases that take minutes are said not to have been
//! tried before any is, since whoever does not ask for them runs nothing of them.
//!
//! Nothing here decides anything. The copies of a case under stress are not told.

use std::{
    env,
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use serde_json::json;

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
        let begin = |folder| {
            fs::create_dir_all(&folder)?;
            let file = Path::new(&folder).join(format!("{engine}.{}.jsonl", list.over));
            File::options().create(true).append(true).open(file)
        };
        let file = env::var_os(FOLDER).map(|folder| Mutex::new(begin(folder).expect("SUITE_RESULTS names a folder")));
        let results = Self(file.map(|file| Told { file, list }));
        for case in list.cases().filter(|case| case.takes_minutes()) {
            results.write(case, json!({ "verdict": NOT_TRIED }));
        }
        results
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

    fn write(&self, case: &Case, mut told: serde_json::Value) {
        let Some(Told { file, list }) = &self.0 else { return };
        told["over"] = list.over.into();
        told["place"] = list.cases().position(|other| other.name == case.name).into();
        told["case"] = case.name.into();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{told}").expect("room for the results");
    }
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
