//! Runs cases: as tests of a program, or for whoever asks what became of them.

use std::{
    any::Any,
    process::ExitCode,
    slice,
    sync::{Arc, OnceLock},
    time::Duration,
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
};

use super::{
    case::{Case, Facts},
    cases::{CASES, LINKS},
    engine::Engine,
    reader::PATIENCE,
    results::Results,
    victim,
};

/// How often a case runs at once under stress.
const COPIES: usize = 20;
/// A case that goes round for ever has failed, too.
const LONGEST: Duration = Duration::from_secs(300);
const ABSENT: &str = "its server is not installed";

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The broker keeps the promise.
    Passed,
    /// It does not, and what was seen instead.
    Failed(String),
    /// It makes none, and why.
    DoesNotApply(&'static str),
}

/// Runs all cases over the bare trait as the tests of this program, with the arguments of libtest; the whole `main` of a broker's
/// test.
pub fn run(engine: Engine) -> ExitCode {
    if let Some(code) = victim::take_over(slice::from_ref(&engine)) {
        return code;
    }
    let side_by_side = engine.side_by_side;
    run_all(side_by_side, trials(&BARE, engine, ""))
}

/// Runs all cases over the framework's loop in the same way, on each of these engines; the name of each test begins with its
/// engine's.
#[cfg(feature = "suite-service")]
pub fn run_loop(engines: impl IntoIterator<Item = Engine>) -> ExitCode {
    let engines: Vec<_> = engines.into_iter().collect();
    if let Some(code) = victim::take_over(&engines) {
        return code;
    }
    let side_by_side = engines.iter().map(|engine| engine.side_by_side).max().unwrap_or(1);
    let of_engine = |engine: Engine| {
        let name = format!("{}::", engine.name);
        trials(&LOOP, engine, &name)
    };
    run_all(side_by_side, engines.into_iter().flat_map(of_engine).collect())
}

fn run_all(side_by_side: usize, trials: Vec<Trial>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(side_by_side);
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials(list: &'static List, engine: Engine, prefix: &str) -> Vec<Trial> {
    let known = Arc::new(Known { results: Results::of(engine.name, list), engine, facts: OnceLock::new() });
    let once = list.cases().map(|case| trial(&known, *case, prefix, 1));
    let stress = list.cases().filter(|case| !case.runs_once()).map(|case| trial(&known, *case, prefix, COPIES));
    once.chain(stress).collect()
}

/// What becomes of the cases whose names are `wanted`, which run side by side.
///
/// # Panics
/// When the engine cannot be opened at all.
pub fn verdicts(engine: &Engine, wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, Verdict)> {
    let known = Known { engine: engine.clone(), facts: OnceLock::new(), results: Results::default() };
    let wanted: Vec<_> = LISTS.iter().flat_map(|list| list.cases()).filter(|case| wanted(case.name)).collect();
    std::thread::scope(|scope| {
        let running: Vec<_> = wanted.iter().map(|case| (case.name, scope.spawn(|| known.verdict(case, 1)))).collect();
        running.into_iter().map(|(name, thread)| (name, thread.join().expect("a case is caught when it panics"))).collect()
    })
}

/// Cases of one kind.
pub(super) struct List {
    rooms: &'static [&'static [Case]],
    /// What they are over, as the results say it.
    pub(super) over: &'static str,
}

impl List {
    pub(super) fn cases(&self) -> impl Iterator<Item = &'static Case> + use<> {
        self.rooms.iter().copied().flatten()
    }
}

pub(super) static BARE: List = List { rooms: &[CASES, LINKS], over: "trait" };
#[cfg(feature = "suite-service")]
static LOOP: List = List { rooms: &[super::looped::LOOPED, super::looped::LINKS], over: "loop" };
static LISTS: &[&List] = &[
    &BARE,
    #[cfg(feature = "suite-service")]
    &LOOP,
];

/// An engine, and what is known of it since the first case asked.
struct Known {
    engine: Engine,
    facts: OnceLock<Option<Facts>>,
    results: Results,
}

impl Known {
    fn verdict(&self, case: &Case, copies: usize) -> Verdict {
        let runtime = runtime(self.engine.patience);
        let facts = self.facts.get_or_init(|| runtime.block_on(Facts::of(&self.engine)));
        let mut engine = self.engine.clone();
        engine.figures = Arc::default();
        let lacks = facts.as_ref().and_then(|facts| case.does_not_apply(facts));
        let verdict = match (facts, lacks) {
            (None, _) => Verdict::DoesNotApply(ABSENT),
            (_, Some(need)) => Verdict::DoesNotApply(need.absence()),
            _ => runtime.block_on(side_by_side(&engine, case, copies)),
        };
        if copies == 1 {
            self.results.add(case, lacks, &verdict, &engine.figures);
        }
        // What a case left running ends with it.
        runtime.shutdown_timeout(Duration::from_secs(1));
        verdict
    }
}

/// As small as a small machine's.
pub(super) fn runtime(patience: Duration) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.on_thread_start(move || PATIENCE.set(patience));
    builder.worker_threads(2).enable_all().build().expect("a runtime")
}

async fn side_by_side(engine: &Engine, case: &Case, copies: usize) -> Verdict {
    let mut running = JoinSet::new();
    for _ in 0..copies {
        let (engine, run) = (engine.clone(), case.run);
        running.spawn(async move {
            let Some(place) = engine.place().await else { return false };
            tokio::time::timeout(LONGEST, run(place)).await.expect("the case goes round for ever");
            true
        });
    }
    while let Some(ended) = running.join_next().await {
        match ended {
            Ok(true) => {}
            Ok(false) => return Verdict::DoesNotApply(ABSENT),
            Err(error) => {
                return Verdict::Failed(error.try_into_panic().map_or_else(|error| error.to_string(), |panic| said(&*panic)));
            }
        }
    }
    Verdict::Passed
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "it panicked".to_owned())
}

fn trial(known: &Arc<Known>, case: Case, prefix: &str, copies: usize) -> Trial {
    let known = Arc::clone(known);
    let stress = if copies == 1 { "" } else { "stress::" };
    let name = format!("{prefix}{stress}{}", case.name);
    let test = Trial::ignorable_test(name, move || match known.verdict(&case, copies) {
        Verdict::Passed => Ok(Completion::Completed),
        Verdict::Failed(why) => Err(Failed::from(why)),
        Verdict::DoesNotApply(reason) => Ok(Completion::ignored_with(reason)),
    });
    // Minutes, where the engine writes each message to a disk: asked for with `--ignored` or `--include-ignored`.
    test.with_ignored_flag(case.takes_minutes())
}
