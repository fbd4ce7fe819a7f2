//! What became of the cases and what they measured, for `cargo xtask brokers-table`: where `SUITE_RESULTS` names a folder, a file
//! for each engine and list of cases in it with a line of JSON for each case.
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

/// Where one engine's results go; nowhere, mostly.
#[derive(Default)]
pub(super) struct Results(Option<Told>);

struct Told {
    file: Mutex<File>,
    list: &'static List,
}

impl Results {
    /// Begins anew, where results are asked for.
    pub(super) fn of(engine: &str, list: &'static List) -> Self {
        let begin = |folder| {
            fs::create_dir_all(&folder)?;
            File::create(Path::new(&folder).join(format!("{engine}.{}.jsonl", list.over)))
        };
        let file = env::var_os(FOLDER).map(|folder| Mutex::new(begin(folder).expect("SUITE_RESULTS names a folder")));
        Self(file.map(|file| Told { file, list }))
    }

    pub(super) fn add(&self, case: &Case, lacks: Option<Need>, verdict: &Verdict, figures: &Figures) {
        let Some(Told { file, list }) = &self.0 else { return };
        let (verdict, why) = match verdict {
            Verdict::Passed => ("passed", None),
            Verdict::Failed(why) => ("failed", Some(why.as_str())),
            Verdict::DoesNotApply(why) => ("does not apply", Some(*why)),
        };
        let seen = *figures.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = json!({
            "over": list.over,
            "place": list.cases().position(|other| other.name == case.name),
            "case": case.name,
            "verdict": verdict,
            "why": why,
            "lacks": lacks.map(|need| format!("{need:?}")),
            "again": seen.again,
            "back_ms": seen.back.map(|back| back.as_millis()),
        });
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("room for the results");
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
