//! The suite notices: brokers that each do one thing wrong, and the case that has to say so.
//!
//! A bug that no case catches is a missing case.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

mod broker;
mod halves;

use std::{sync::Arc, time::Duration};

use broker::Planted;
use tidings_core::{Client, url};
use tidings_memory::Memory;
use tidings_testing::suite::{Engine, Site, Verdict, unique, verdicts};

/// What a broker does wrong. Several of these are what widely used frameworks were seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

#[test]
fn without_a_bug_every_case_passes() {
    // A million messages are the conformance test's, in a process of its own.
    let verdicts = verdicts(&engine(Bug::Nothing), |name| !name.starts_with("long::"));
    let failed: Vec<_> = verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let passed = verdicts.iter().filter(|(_, verdict)| *verdict == Verdict::Passed).count();
    assert!(passed > 45, "only {passed} cases applied");
}

/// Many bugs let a case wait in vain.
const PATIENCE: Duration = Duration::from_secs(5);

/// The case fails against the bug; that it passes without, `without_a_bug_every_case_passes` shows.
fn names(bug: Bug, case: &str) {
    let verdicts = verdicts(&engine(bug).patience(PATIENCE), |name| name == case);
    let [(_, verdict)] = &verdicts[..] else { panic!("there is no case {case}") };
    assert!(matches!(verdict, Verdict::Failed(_)), "{case} did not notice {bug:?}: {verdict:?}");
}

macro_rules! planted {
    ($($test:ident: $bug:ident, $case:literal;)*) => {
        $(#[test]
        fn $test() {
            names(Bug::$bug, $case);
        })*
    };
}

planted! {
    one_lost_in_a_thousand: LosesOneInAThousand, "publishing::many_messages_come_each_once";
    one_doubled: DoublesOneInAThousand, "publishing::many_messages_come_each_once";
    two_of_a_key_swapped: SwapsTwoOfAKey, "order::the_order_of_a_key_holds_within_an_instance";
    redelivered_never: RedeliversNever, "settling::a_retry_at_once_comes_again_at_once";
    redelivered_too_early:
        RedeliversTooEarly, "settling::a_retry_comes_again_not_earlier_than_asked_and_not_much_later";
    redelivered_too_late:
        RedeliversTooLate, "settling::a_retry_comes_again_not_earlier_than_asked_and_not_much_later";
    attempts_counted_wrong: CountsAttemptsWrong, "settling::attempts_rise_and_handing_back_is_none";
    deliveries_past_unsettled: LeaksPastUnsettled, "delivery::no_more_is_unsettled_than_was_allowed";
    back_pressure_ignored: IgnoresBackPressure, "delivery::no_more_is_delivered_than_was_asked_for";
    a_close_that_hangs: HangsOnClose, "closing::closing_ends_every_pending_future";
    acknowledged_before_handling: AcknowledgesBeforeHandling, "settling::a_dropped_subscription_gives_back_what_it_held";
    groups_mixed: MixesGroups, "groups::every_group_gets_everything";
    all_to_one_member: GivesAllToOneMember, "groups::the_instances_of_a_group_share";
    a_mangled_header: MangledHeaderByte, "publishing::what_was_published_arrives_whole";
    a_subscribe_that_returns_too_early:
        SubscribesTooLate, "starting::what_is_published_right_after_subscribing_by_another_opening_arrives";
    acknowledged_at_close:
        AcknowledgesAtClose, "closing::closing_a_subscription_counts_what_was_settled_and_gives_back_the_rest_in_order";
    a_group_forgotten_at_a_clean_close: ForgetsTheGroupAtAClose, "closing::a_group_goes_on_where_it_left_off";
    // Nothing takes a message from a living member of `memory:`, so `Fetched::Lost` cannot be provoked there; what a lost
    // receipt's `extend` answers can.
    lost_never_said: NeverSaysLost, "leases::what_was_taken_away_without_a_lease_is_told";
    published_when_closed: TakesPublishesWhenClosed, "closing::a_closed_broker_refuses_everything";
    the_wrong_failure_named: NamesTheWrongFailure, "publishing::exactly_the_messages_that_were_not_taken_are_named";
    lost_with_a_cancelled_fetch: LosesWhatACancelledFetchHad, "delivery::fetches_that_were_given_up_lose_nothing";
    nothing_recognised: RecognisesNothing, "publishing::a_second_publish_is_recognised";
    delayed_and_delivered_at_once:
        DeliversDelayedAtOnce, "delayed::a_delayed_message_comes_when_it_is_due_and_not_much_later";
    delayed_and_lost: LosesWhatIsDelayed, "delayed::every_group_that_is_there_when_it_is_due_gets_a_delayed_message";
    always_healthy: IsAlwaysHealthy, "closing::a_closed_broker_refuses_everything";
    a_key_at_two_instances: GivesAnotherInstanceAKeyInHand, "order::a_key_in_hand_is_not_given_to_another_instance";
    rejected_and_kept: KeepsWhatWasRejected, "settling::what_was_rejected_is_forgotten";

    // Over the framework's loop.
    letters_swallowed: RecognisesByIdAlone, "letters::every_subscription_has_a_dead_letter_of_its_own_beside_the_event";
    no_room_for_a_letter: HasNoRoomForALetter, "letters::a_message_at_the_limit_has_a_whole_dead_letter";
    a_second_letter: KeepsWhatWasRejected, "letters::a_rejected_message_is_one_dead_letter_and_does_not_come_again";
    a_retry_too_early: RedeliversTooEarly, "attempts::a_wait_that_a_handler_asks_for_is_kept_and_not_much_longer";
    attempts_that_do_not_rise: CountsAttemptsWrong, "attempts::attempts_go_on_after_a_restart";
    more_in_hand_than_may: IgnoresBackPressure, "bounds::no_more_is_in_hand_and_running_than_the_settings_allow";
    handed_back_and_forgotten:
        ForgetsWhatIsHandedBack, "stops::a_stop_under_load_finishes_what_runs_and_hands_back_the_rest";
    cut_and_forgotten:
        ForgetsWhatIsHandedBack, "stops::what_runs_past_the_deadline_is_cut_and_comes_again_as_the_same_attempt";
    lost_in_a_crash: AcknowledgesBeforeHandling, "stops::what_a_crashed_instance_had_is_handled_by_the_next";
}
