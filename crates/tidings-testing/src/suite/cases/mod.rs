//! The cases by room, and the table that says what each one needs.

mod closing;
mod delayed;
mod delivery;
mod groups;
mod leases;
#[cfg(unix)]
mod links;
mod long;
mod order;
mod processes;
mod publishing;
mod servers;
mod settling;
mod starting;

pub use publishing::on_a_bare_wire_the_body_alone_arrives;

use super::case::{Case, table};

/// What the rooms use.
mod prelude {
    pub(super) use std::{collections::BTreeSet, sync::Arc, time::Duration};

    pub(super) use bytes::Bytes;
    pub(super) use tidings_core::{
        Broker, Delivery, Fetched, GroupName, Key, Members, Message, Outcome, Start, Subscription, Topic,
    };

    pub(super) use crate::suite::{
        Reader, as_set, bodies, body, engine::Place, keyed, ledger::Ledger, message, numbered, numbers, publish, subscribe,
        subscribe_with, subscription, within,
    };

    /// How long a close may take, by the contract.
    pub(super) const CLOSED_WITHIN: Duration = Duration::from_secs(5);

    pub(super) const fn retry(after: Duration, attempts: u32) -> Outcome {
        Outcome::Retry { after, attempts }
    }
}

table! {
    CASES,
    publishing: {
        what_was_published_arrives_whole []
        a_message_of_the_largest_size_arrives_and_a_larger_one_is_named []
        exactly_the_messages_that_were_not_taken_are_named []
        a_second_publish_is_recognised [Recognition]
        an_event_and_its_dead_letter_share_an_id_and_both_arrive [Wildcards]
        publishes_that_were_given_up_leave_nothing_broken []
        what_was_published_is_there_when_its_publisher_is_closed []
        many_messages_come_each_once []
    }
    starting: {
        a_new_group_gets_what_was_kept [StartAtFirst]
        a_new_group_can_begin_at_a_time [StartAtFirst]
        a_group_that_begins_now_gets_nothing_older []
        a_start_that_cannot_be_is_refused [StartNowOnly]
        what_is_published_right_after_subscribing_by_another_opening_arrives []
        subscribes_that_were_given_up_leave_nothing_behind [Groups]
    }
    delivery: {
        no_more_is_delivered_than_was_asked_for []
        no_more_is_unsettled_than_was_allowed []
        without_a_settlement_there_is_no_next_one []
        a_fetch_for_nothing_brings_nothing [Groups Kept]
        fetches_that_were_given_up_lose_nothing []
        a_fetch_that_was_given_up_takes_nothing_from_the_others [Groups Kept]
        settling_goes_on_while_a_fetch_waits []
    }
    groups: {
        every_group_gets_everything [Groups]
        the_instances_of_a_group_share [Groups]
        a_group_takes_over_from_an_instance_that_died [Groups Kept]
        a_pattern_gets_its_topics_and_no_others [Groups Wildcards]
        many_topics_at_once [Groups Wildcards]
        the_patterns_of_a_group_are_apart [Groups Wildcards]
        each_instance_gets_everything_and_leaves_nothing_behind []
        an_instance_comes_and_one_goes_while_messages_flow [Groups Kept]
    }
    order: {
        the_order_of_a_key_holds_within_an_instance [Order]
        the_order_of_a_key_holds_through_hand_backs [OrderInGroup]
        the_order_of_a_key_holds_under_concurrency [OrderInGroup]
        a_key_in_hand_is_not_given_to_another_instance [OrderInGroup]
        a_hot_key_does_not_keep_the_others_waiting [OrderInGroup]
        the_key_of_an_instance_that_went_away_is_taken_over_in_order [OrderInGroup]
        what_waits_for_the_holder_of_its_key_comes_once [OrderInGroup]
    }
    settling: {
        a_dropped_subscription_gives_back_what_it_held [Kept]
        a_retry_comes_again_not_earlier_than_asked_and_not_much_later [Delay]
        a_retry_at_once_comes_again_at_once []
        attempts_rise_and_handing_back_is_none []
        another_instance_knows_of_the_attempts [Attempts]
        a_waiting_retry_keeps_nothing_else_waiting [Delay]
        what_was_rejected_is_forgotten []
        a_receipt_settles_once_and_a_lost_one_nothing [Kept]
        what_is_handed_back_comes_again_in_order [OrderInGroup]
        what_is_handed_back_at_the_end_comes_again_in_order [Order Kept]
    }
    leases: {
        what_outlives_its_lease_is_lost_and_comes_again [Lease]
        a_lease_that_is_kept_up_is_not_lost [Lease]
        what_lay_unseen_for_longer_than_its_lease_comes_once [Lease]
        what_was_taken_away_without_a_lease_is_told [Kept NoLease]
    }
    delayed: {
        a_delayed_message_comes_when_it_is_due_and_not_much_later [HeldBack]
        delayed_messages_come_by_when_they_are_due [HeldBack]
        what_is_published_meanwhile_does_not_wait_for_a_delayed_message_of_its_key [HeldBack]
        every_group_that_is_there_when_it_is_due_gets_a_delayed_message [HeldBack Groups]
        a_delayed_message_of_who_closed_comes_all_the_same [HeldBack Kept]
        a_delayed_message_that_was_due_while_all_were_away_waits [HeldBack Kept]
        a_second_publish_of_a_delayed_message_is_recognised [HeldBack Recognition]
        what_was_due_before_comes_at_once [HeldBack]
        a_delay_that_is_too_long_is_refused_and_the_rest_of_the_batch_is_not [HeldBack]
        a_delay_is_refused_and_nothing_sent [NotHeldBack]
    }
    closing: {
        a_group_goes_on_where_it_left_off [Kept]
        what_is_published_while_every_instance_is_away_waits [Kept]
        closing_a_subscription_counts_what_was_settled_and_gives_back_the_rest_in_order [Kept]
        closing_ends_every_pending_future []
        a_closed_broker_refuses_everything []
        a_closed_broker_settles_nothing [Kept]
        closing_one_opening_leaves_the_others_alone [Groups Kept]
        closing_under_load_ends_every_publish []
    }
    processes: {
        a_killed_instance_is_replaced_and_what_it_held_comes_again [OtherProcesses Kept]
        attempts_survive_a_killed_instance [OtherProcesses Kept Attempts]
        what_a_killed_publisher_was_told_is_taken_is_there [OtherProcesses Kept]
        a_slow_consumer_does_not_grow_with_what_waits [OtherProcesses MemoryTold]
    }
    servers: {
        a_killed_server_is_told_and_comes_back [Server]
        a_server_that_is_absent_is_named [Server]
        a_flush_tells_of_a_connection_that_was_lost [Server NotKept]
        everything_ends_while_the_server_is_away [Server]
        nothing_is_lost_while_the_server_is_killed [Server Kept]
    }
    long: {
        memory_stays_flat_over_a_million_messages [MemoryTold]
    }
}

// The proxy that stands in front of a server is a server of the test kit's, which are for Unix.
#[cfg(unix)]
table! {
    LINKS,
    links: {
        a_cut_link_is_told_and_comes_back [Server]
        a_half_open_link_is_told_and_given_up [Server]
        a_link_that_stands_still_is_told_and_goes_on [Server]
        nothing_is_lost_over_a_link_that_is_cut [Server Kept]
        nothing_is_lost_over_a_half_open_link [Server Kept]
        a_slow_link_loses_nothing_and_keeps_the_order_of_a_key [Server Order]
        the_order_of_a_key_holds_over_a_reset_connection [Server Kept Order]
        a_flush_tells_of_a_connection_that_was_cut_after_a_publish [Server NotKept]
        everything_ends_while_the_link_is_half_open [Server]
    }
}
#[cfg(not(unix))]
pub(super) const LINKS: &[Case] = &[];
