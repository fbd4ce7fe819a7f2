//! Cases over the framework's own loop: handlers, retries, dead letters and the drain, on any broker.
//!
//! What the bare trait promises is in `cases`. Here are the same handlers as a service has, run by [`rig`] as it runs them, on the
//! machine's clock; what they did is looked at from outside.

mod attempts;
mod bounds;
mod counted;
mod letters;
#[cfg(unix)]
mod links;
mod processes;
mod rig;
mod stops;

pub(super) use processes::handle_some;

use super::case::{Case, table};

/// What the rooms use.
mod prelude {
    pub(super) use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
        time::{Duration, Instant},
    };

    pub(super) use tidings::{Failure, Handlers, Message, Meta, Retry};
    pub(super) use tokio::sync::Semaphore;

    pub(super) use super::{
        counted::Counted,
        rig::{Instance, Seen, Tried, by_key, tells},
    };
    pub(super) use crate::suite::{engine::Place, keyed, ledger::Ledger, message, numbered, numbers, publish, within};
}

table! {
    LOOPED,
    letters: {
        a_rejected_message_is_one_dead_letter_and_does_not_come_again [Kept]
        a_body_that_cannot_be_read_is_a_dead_letter_that_says_so [Kept]
        every_subscription_has_a_dead_letter_of_its_own_beside_the_event [Groups Wildcards Kept]
        a_message_at_the_limit_has_a_whole_dead_letter [Kept]
    }
    attempts: {
        a_failing_message_has_the_attempts_of_its_policy_and_no_more []
        the_last_failure_is_one_dead_letter [Kept]
        a_panic_is_a_failed_attempt []
        the_order_of_a_key_holds_through_retries []
        the_order_of_a_key_holds_through_retries_across_instances [OrderInGroup]
        a_wait_that_a_handler_asks_for_is_kept_and_not_much_longer []
        attempts_go_on_after_a_restart [Kept Attempts Delay]
        a_handler_that_takes_longer_than_a_lease_keeps_its_message_and_its_failure_counts [Lease]
    }
    bounds: {
        no_more_is_in_hand_and_running_than_the_settings_allow []
        a_key_that_goes_on_failing_stops_no_other []
        a_slow_subscription_slows_no_other [Groups]
    }
    stops: {
        a_stop_under_load_finishes_what_runs_and_hands_back_the_rest [Kept]
        what_runs_past_the_deadline_is_cut_and_comes_again_as_the_same_attempt [Kept]
        what_a_dropped_instance_had_is_handled_by_the_next [Kept]
        an_instance_joins_and_one_stops_under_load_and_nothing_is_handled_twice [Groups Kept]
    }
    processes: {
        what_a_killed_instance_had_is_handled_by_the_next [OtherProcesses Kept]
    }
}

#[cfg(unix)]
table! {
    LINKS,
    links: {
        a_dead_letter_waits_for_the_link_and_is_stored_once [Server Kept]
        all_is_handled_in_order_over_a_link_that_breaks [Server Kept Order]
    }
}
#[cfg(not(unix))]
pub(super) const LINKS: &[Case] = &[];
