//! The suite notices: brokers that each do one thing wrong, and the case that has to say so.
//!
//! A bug that no case catches is a missing case.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod broker;
mod halves;

use std::{
    fs,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use broker::Planted;
use tidings_core::{Client, url};
use tidings_memory::Memory;
use tidings_testing::suite::{Engine, Site, Verdict, unique, verdicts};

/// What a broker does wrong. Several of these are what widely used frameworks were seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bug {
    Nothing,
    LosesOneInAThousand,
    DoublesOneInAThousand,
    SwapsTwoOfAKey,
    RedeliversNever,
    RedeliversTooEarly,
    RedeliversTooLate,
    CountsAttemptsWrong,
    LeaksPastUnsettled,
    IgnoresBackPressure,
    HangsOnClose,
    AcknowledgesBeforeHandling,
    MixesGroups,
    GivesAllToOneMember,
    MangledHeaderByte,
    SubscribesTooLate,
    AcknowledgesAtClose,
    ForgetsTheGroupAtAClose,
    NeverSaysLost,
    TakesPublishesWhenClosed,
    NamesTheWrongFailure,
    LosesWhatACancelledFetchHad,
    RecognisesNothing,
    DeliversDelayedAtOnce,
    LosesWhatIsDelayed,
    IsAlwaysHealthy,
    GivesAnotherInstanceAKeyInHand,
    KeepsWhatWasRejected,
    RecognisesByIdAlone,
    HasNoRoomForALetter,
    ForgetsWhatIsHandedBack,
}

fn engine(bug: Bug) -> Engine {
    let site = || async {
        let name = format!("memory:planted-{}", unique());
        let held = Memory::open(&url::parse(&name).unwrap()).unwrap();
        Some(Site::new(name, held))
    };
    Engine::new("planted", site, move |url| async move {
        let client = Client { service: "planted".into(), instance: "1".into() };
        let inner = tidings_memory::open(&url::parse(&url)?, &client).await?;
        Ok(Arc::new(Planted::new(inner, bug, &url)) as Arc<dyn tidings_core::Broker>)
    })
}

/// Many bugs let a case wait in vain.
const PATIENCE: Duration = Duration::from_secs(6);

/// What becomes of all cases that take no minutes.
fn of_quick_cases(bug: Bug) -> Vec<(&'static str, Verdict)> {
    // A million messages are the conformance test's, in a process of its own.
    verdicts(&engine(bug).patience(PATIENCE), |name| !name.starts_with("long::"))
}

#[test]
fn without_a_bug_every_case_passes() {
    let verdicts = of_quick_cases(Bug::Nothing);
    let failed: Vec<_> = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let passed = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Passed).count();
    assert!(passed > 45, "only {passed} cases applied");
}

/// A bug, the case that names it, and what that one says: a fragment of its failure, or of the line at which it waited in vain.
type Named = (Bug, &'static str, &'static str);

/// Why the bug is not named among these verdicts; that the case passes without it, `without_a_bug_every_case_passes` shows.
fn not_named((bug, case, says): Named, verdicts: &[(&str, Verdict)]) -> Option<String> {
    match verdicts.iter().find(|(name, _)| *name == case) {
        None => Some(format!("there is no case {case}")),
        Some((_, Verdict::Failed(why))) => {
            let said = format!("{why} {}", line_of_the_wait(why).unwrap_or_default());
            (!said.contains(says)).then(|| format!("{case} fails against {bug:?}, but not by {says:?}: {said}"))
        }
        Some((_, verdict)) => Some(format!("{case} did not notice {bug:?}: {verdict:?}")),
    }
}

/// What stands at the place that a case names which waited in vain.
fn line_of_the_wait(why: &str) -> Option<String> {
    let mut place = why.split_once(" waited for ")?.0.split(':');
    let (file, line) = (place.next()?, place.next()?.parse::<usize>().ok()?);
    let source = fs::read_to_string(format!("{}/../../{file}", env!("CARGO_MANIFEST_DIR"))).ok()?;
    source.lines().nth(line.checked_sub(1)?).map(|line| line.trim().to_owned())
}

fn assert_named(named: Named) {
    let (bug, case, _) = named;
    let verdicts = verdicts(&engine(bug).patience(PATIENCE), |name| name == case);
    assert_eq!(not_named(named, &verdicts), None);
}

/// Who breaks a broker runs the whole suite, and reads there what is wrong.
#[test]
fn among_all_cases_those_that_name_a_bug_fail() {
    /// The cases of each run side by side, too.
    const SIDE_BY_SIDE: usize = 4;
    let mut bugs: Vec<_> = NAMED.iter().map(|(bug, ..)| *bug).collect();
    bugs.sort_unstable();
    bugs.dedup();
    let (bugs, missing) = (Mutex::new(bugs), Mutex::new(Vec::new()));
    let next = || bugs.lock().unwrap().pop();
    let try_all = || {
        while let Some(bug) = next() {
            let verdicts = of_quick_cases(bug);
            let of_bug = NAMED.iter().filter(|(named, ..)| *named == bug);
            missing.lock().unwrap().extend(of_bug.filter_map(|named| not_named(*named, &verdicts)));
        }
    };
    thread::scope(|scope| (0..SIDE_BY_SIDE).for_each(|_| drop(scope.spawn(try_all))));
    let missing = missing.into_inner().unwrap();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

macro_rules! planted {
    ($($test:ident: $bug:ident, $case:literal, $says:literal;)*) => {
        const NAMED: &[Named] = &[$((Bug::$bug, $case, $says)),*];

        $(#[test]
        fn $test() {
            assert_named((Bug::$bug, $case, $says));
        })*
    };
}

planted! {
    one_lost_in_a_thousand: LosesOneInAThousand, "publishing::many_messages_come_each_once", "reader.next(256)";
    one_doubled: DoublesOneInAThousand,
        "publishing::many_messages_come_each_once", "1 came again, and what was in hand explains 0";
    two_of_a_key_swapped: SwapsTwoOfAKey,
        "order::the_order_of_a_key_holds_within_an_instance", "left: [\"1\", \"0\", \"3\", \"2\"";
    redelivered_never: RedeliversNever, "settling::a_retry_at_once_comes_again_at_once", "reader.take(2).await.iter()";
    redelivered_too_early: RedeliversTooEarly,
        "settling::a_retry_comes_again_not_earlier_than_asked_and_not_much_later", "it was to wait for 2.5s, and came after 2.";
    redelivered_too_late: RedeliversTooLate,
        "settling::a_retry_comes_again_not_earlier_than_asked_and_not_much_later", "it was to wait for 2.5s, and came after 5.";
    attempts_counted_wrong: CountsAttemptsWrong, "settling::attempts_rise_and_handing_back_is_none", "left: 1\n right: 2";
    deliveries_past_unsettled: LeaksPastUnsettled,
        "delivery::no_more_is_unsettled_than_was_allowed", "nothing was to come: Ok([Delivery";
    back_pressure_ignored: IgnoresBackPressure, "delivery::no_more_is_delivered_than_was_asked_for", "a fetch for 1 brought 2";
    a_close_that_hangs: HangsOnClose, "closing::closing_ends_every_pending_future", "Elapsed(())";
    acknowledged_before_handling: AcknowledgesBeforeHandling,
        "settling::a_dropped_subscription_gives_back_what_it_held", "second.take(17)";
    groups_mixed: MixesGroups, "groups::every_group_gets_everything", "reader.read(100)";
    all_to_one_member: GivesAllToOneMember, "groups::the_instances_of_a_group_share", "[0, 100]";
    a_mangled_header: MangledHeaderByte, "publishing::what_was_published_arrives_whole", "a name of all that is allowe~";
    a_subscribe_that_returns_too_early: SubscribesTooLate,
        "starting::what_is_published_right_after_subscribing_by_another_opening_arrives", "reader.read(1)";
    acknowledged_at_close: AcknowledgesAtClose,
        "closing::closing_a_subscription_counts_what_was_settled_and_gives_back_the_rest_in_order", "second.read(6)";
    a_group_forgotten_at_a_clean_close: ForgetsTheGroupAtAClose, "closing::a_group_goes_on_where_it_left_off", "reader.read(25)";
    // Nothing takes a message from a living member of `memory:`, so `Fetched::Lost` cannot be provoked there; what a lost
    // receipt's `extend` answers can.
    lost_never_said: NeverSaysLost, "leases::what_was_taken_away_without_a_lease_is_told", "that it was taken away was not told";
    published_when_closed: TakesPublishesWhenClosed,
        "closing::a_closed_broker_refuses_everything", "`Result::unwrap_err()` on an `Ok` value";
    the_wrong_failure_named: NamesTheWrongFailure,
        "publishing::exactly_the_messages_that_were_not_taken_are_named", "left: [0, 49, 98, 99, 100]";
    lost_with_a_cancelled_fetch: LosesWhatACancelledFetchHad,
        "delivery::fetches_that_were_given_up_lose_nothing", "within(async {";
    nothing_recognised: RecognisesNothing, "publishing::a_second_publish_is_recognised", "\"99\", \"50\"]";
    delayed_and_delivered_at_once: DeliversDelayedAtOnce,
        "delayed::a_delayed_message_comes_when_it_is_due_and_not_much_later", "it was to wait for 1s, and came after";
    delayed_and_lost: LosesWhatIsDelayed,
        "delayed::every_group_that_is_there_when_it_is_due_gets_a_delayed_message", "reader.read(1)";
    always_healthy: IsAlwaysHealthy, "closing::a_closed_broker_refuses_everything", "matches!(broker.health(), Health::Down(_))";
    a_key_at_two_instances: GivesAnotherInstanceAKeyInHand,
        "order::a_key_in_hand_is_not_given_to_another_instance", "right: [\"3\", \"5\"]";
    rejected_and_kept: KeepsWhatWasRejected, "settling::what_was_rejected_is_forgotten", "a message came that should not have";

    // Over the framework's loop.
    letters_swallowed: RecognisesByIdAlone,
        "letters::every_subscription_has_a_dead_letter_of_its_own_beside_the_event", "self.reader.take(count)";
    no_room_for_a_letter: HasNoRoomForALetter,
        "letters::a_message_at_the_limit_has_a_whole_dead_letter", "the letter has 0 bytes of";
    a_second_letter: KeepsWhatWasRejected,
        "letters::a_rejected_message_is_one_dead_letter_and_does_not_come_again", "body: \"bad\"";
    a_retry_too_early: RedeliversTooEarly,
        "attempts::a_wait_that_a_handler_asks_for_is_kept_and_not_much_longer", "it was to wait for 1.3s, and came after 1.1";
    attempts_that_do_not_rise: CountsAttemptsWrong, "attempts::attempts_go_on_after_a_restart", "attempt: 2";
    more_in_hand_than_may: IgnoresBackPressure,
        "bounds::no_more_is_in_hand_and_running_than_the_settings_allow", "the most that were in flight";
    handed_back_and_forgotten: ForgetsWhatIsHandedBack,
        "stops::a_stop_under_load_finishes_what_runs_and_hands_back_the_rest", "done.count(RUNNING + 1)";
    cut_and_forgotten: ForgetsWhatIsHandedBack,
        "stops::what_runs_past_the_deadline_is_cut_and_comes_again_as_the_same_attempt", "done.count(3)";
    lost_in_a_crash: AcknowledgesBeforeHandling, "stops::what_a_dropped_instance_had_is_handled_by_the_next", "done.";
}
