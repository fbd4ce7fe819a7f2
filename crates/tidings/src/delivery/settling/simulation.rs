//! Settling over an engine that fails as it likes: each outcome is settled once and in order, what cannot be settled now is tried
//! again with waits that grow, nothing holds up the end, and a lease is kept until then and no longer.
//!
//! In tokio's paused time: neither sleeps nor sockets.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard},
};

use proptest::{
    collection::vec,
    option, prop_assert, prop_assert_eq, prop_oneof, proptest,
    strategy::{Just, Strategy},
};
use tidings_core::{BoxFuture, BrokerError};
use tokio::{sync::mpsc::unbounded_channel, time::Instant};

use super::*;
use crate::delivery::simulation::{Checked, config};

const LEASE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Taken,
    Away,
    Refused,
}

/// A call of the engine.
#[derive(Debug, Clone)]
struct Call {
    begun: Instant,
    ended: Instant,
    batch: Outcomes,
    answer: Answer,
}

/// An engine that answers from a script, and takes all when that is over.
#[derive(Debug)]
struct Scripted {
    script: Mutex<Vec<(Answer, Duration)>>,
    calls: Mutex<Vec<Call>>,
    /// What was extended, and when.
    extended: Mutex<Vec<(Instant, Vec<Receipt>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Settle for Scripted {
    fn settle<'a>(&'a self, batch: &'a [(Receipt, Outcome)]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let begun = Instant::now();
            let (answer, takes) = lock(&self.script).pop().unwrap_or((Answer::Taken, Duration::ZERO));
            sleep(takes).await;
            lock(&self.calls).push(Call { begun, ended: Instant::now(), batch: batch.to_vec(), answer });
            let broker = "scripted".to_owned();
            match answer {
                Answer::Taken => Ok(()),
                Answer::Away => Err(BrokerError::Unavailable { broker, source: "away".into() }),
                Answer::Refused => Err(BrokerError::Refused { broker, reason: "never".to_owned() }),
            }
        })
    }

    fn extend<'a>(&'a self, batch: &'a [Receipt]) -> BoxFuture<'a, Result<Vec<Receipt>, BrokerError>> {
        lock(&self.extended).push((Instant::now(), batch.to_vec()));
        Box::pin(async { Ok(Vec::new()) })
    }

    fn lease(&self) -> Option<Duration> {
        Some(LEASE)
    }
}

/// What the loop hands over: after a while, outcomes of one turn.
#[derive(Debug, Clone)]
struct Turn {
    after: Duration,
    outcomes: usize,
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let after = prop_oneof![3 => Just(0), 1 => 1..3_000_u64].prop_map(Duration::from_millis);
    vec((after, 1..6_usize).prop_map(|(after, outcomes)| Turn { after, outcomes }), 1..100)
}

fn script() -> impl Strategy<Value = Vec<(Answer, Duration)>> {
    let answer = prop_oneof![3 => Just(Answer::Taken), 4 => Just(Answer::Away), 1 => Just(Answer::Refused)];
    vec((answer, (0..500_u64).prop_map(Duration::from_millis)), 0..40)
}

/// The outcomes, numbered.
fn outcomes(turns: &[Turn]) -> Vec<Outcomes> {
    let mut numbers = 0_u64..;
    let mut one = || (Receipt([numbers.next().unwrap_or_default(), 0, 0]), Outcome::Ack);
    turns.iter().map(|turn| (0..turn.outcomes).map(|_| one()).collect()).collect()
}

/// Runs it to its end; `hurry` comes after so long.
async fn run(turns: Vec<Turn>, script: Vec<(Answer, Duration)>, hurry: Option<Duration>) -> Checked {
    let begun = Instant::now();
    let engine = Arc::new(Scripted { script: Mutex::new(script), calls: Mutex::default(), extended: Mutex::default() });
    let (all, held, cancel) = (outcomes(&turns), Held::new(Some(LEASE)), CancellationToken::new());
    held.hold(all.iter().flatten().map(|(receipt, _)| *receipt), begun);
    let (events, mut heard) = unbounded_channel();
    let (hand_over, handed_over) = unbounded_channel();
    let settle = || Arc::clone(&engine) as Arc<dyn Settle>;
    let keeping = tokio::spawn(held.clone().keep(settle(), events.clone()));
    let settling = tokio::spawn(settle_all(settle(), held, handed_over, events, cancel.clone()));
    let hurrying = tokio::spawn(async move {
        if let Some(after) = hurry {
            sleep(after).await;
            cancel.cancel();
        }
    });
    for (turn, outcomes) in turns.iter().zip(&all) {
        sleep(turn.after).await;
        prop_assert!(hand_over.send(outcomes.clone()).is_ok(), "settling ended before its end");
    }
    drop(hand_over);
    prop_assert!(settling.await.is_ok(), "settling panicked");
    let ended = Instant::now();
    sleep(2 * LEASE).await;
    hurrying.abort();
    keeping.abort();
    let calls = lock(&engine.calls).clone();
    let batches = batches(&calls, hurry.map(|after| begun + after))?;
    let settled: Outcomes = batches.iter().flat_map(|call| call.batch.clone()).collect();
    prop_assert_eq!(settled, all.concat(), "settled, in order");
    let mut told = Vec::new();
    while let Ok(event) = heard.try_recv() {
        told.push(if let Event::Settled(count) = event { count } else { usize::MAX });
    }
    prop_assert_eq!(told, batches.iter().map(|call| call.batch.len()).collect::<Vec<_>>(), "what the loop was told");
    let leases = lock(&engine.extended).clone();
    check_leases(&leases, &batches, &all.concat(), ended)
}

/// The last call of each batch, after a look at those before it.
fn batches(calls: &[Call], hurry: Option<Instant>) -> Result<Vec<&Call>, proptest::test_runner::TestCaseError> {
    let hurried = |at: Instant| hurry.is_some_and(|hurry| hurry <= at);
    let (mut last, mut wait) = (Vec::new(), BACK_OFF);
    for (place, call) in calls.iter().enumerate() {
        let again = call.answer == Answer::Away && !hurried(call.ended);
        let Some(next) = calls.get(place + 1).filter(|_| again) else {
            prop_assert!(!again, "given up, though the engine was only away");
            last.push(call);
            wait = BACK_OFF;
            continue;
        };
        prop_assert_eq!(&next.batch, &call.batch, "tried again with other outcomes");
        let due = call.ended + wait;
        let due = hurry.map_or(due, |hurry| due.min(hurry.max(call.ended)));
        prop_assert_eq!(next.begun, due, "tried again at another time than after {:?}", wait);
        wait = (wait * 2).min(LONGEST_BACK_OFF);
    }
    Ok(last)
}

/// Each look extends what is not settled by then, and nothing else.
fn check_leases(extended: &[(Instant, Vec<Receipt>)], batches: &[&Call], all: &Outcomes, ended: Instant) -> Checked {
    for (at, asked) in extended {
        prop_assert!(*at <= ended, "extended after the end");
        let over = |by: fn(&Instant, &Instant) -> bool| -> BTreeSet<u64> {
            let batches = batches.iter().filter(|call| by(&call.ended, at));
            batches.flat_map(|call| call.batch.iter().map(|(receipt, _)| receipt.0[0])).collect()
        };
        let asked: BTreeSet<u64> = asked.iter().map(|receipt| receipt.0[0]).collect();
        prop_assert!(asked.is_disjoint(&over(Instant::lt)), "extended after its settlement");
        let (all, over) = (all.iter().map(|(receipt, _)| receipt.0[0]), over(Instant::le));
        let forgotten: Vec<_> = all.filter(|number| !asked.contains(number) && !over.contains(number)).collect();
        prop_assert!(forgotten.is_empty(), "not extended: {forgotten:?}");
    }
    // Every ten seconds.
    let most =
        extended.first().map_or(ended, |(first, _)| *first + LEASE / 3 * u32::try_from(extended.len()).unwrap_or(u32::MAX));
    prop_assert!(most >= ended, "leases were not looked after until the end");
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn each_outcome_is_settled_once_in_order_whatever_the_engine_does(
        turns in turns(),
        script in script(),
        hurry in option::of((0..60_000_u64).prop_map(Duration::from_millis)),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(turns, script, hurry))?;
    }
}
