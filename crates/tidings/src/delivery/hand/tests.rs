use std::sync::Arc;

use bytes::Bytes;
use tidings_core::{GroupName, Message, Receipt, Source, Topic, TopicPattern};

use super::*;
use crate::{
    Publisher,
    delivery::policy::Suspicion,
    handlers::{Delivered, Place, SubscriptionName},
};

const BOUNDS: Bounds = Bounds { in_flight: 8, concurrency: 2, parked: 4, parked_bytes: 1 << 20, ordered: true };
const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    hand: Hand,
    place: Arc<Place>,
    now: Moment,
    arrived: u64,
}

impl Fixture {
    fn new(bounds: Bounds) -> Self {
        let broker = crate::delivery::tests::broker();
        let source = Source::new("/test").unwrap();
        let subscription = SubscriptionName { group: GroupName::new("g").unwrap(), pattern: TopicPattern::new("t").unwrap() };
        Self {
            hand: Hand::new(bounds),
            place: Arc::new(Place::new(subscription, Publisher::new(broker, source))),
            now: Moment::at(Instant::now()),
            arrived: 0,
        }
    }

    /// A message of `key` arrives; answered is whether it runs at once.
    fn arrive(&mut self, key: &str) -> Option<Ticket> {
        self.arrive_as(key, false)
    }

    fn arrive_as(&mut self, key: &str, suspect: bool) -> Option<Ticket> {
        let message = Message::builder(Topic::new("t").unwrap(), Source::new("/test").unwrap(), Bytes::new())
            .key((!key.is_empty()).then(|| Key::new(key).unwrap()))
            .build();
        self.arrived += 1;
        let delivered = Arc::new(Delivered { message, place: Arc::clone(&self.place) });
        let mut item = Item::new(delivered, Receipt([self.arrived, 0, 0]), self.now, 0);
        if suspect {
            item.suspicion = Suspicion::Suspect;
        }
        let ticket = self.hand.admit(item, true);
        ticket.inspect(|ticket| self.hand.keep(*ticket))
    }

    fn number(&self, ticket: Ticket) -> u64 {
        self.hand.get(ticket).unwrap().receipt.0[0]
    }

    /// All that can start does; their numbers.
    fn start_all(&mut self) -> Vec<u64> {
        let started: Vec<Ticket> = std::iter::from_fn(|| self.hand.next()).collect();
        started.into_iter().map(|ticket| self.number(ticket)).collect()
    }

    fn ticket_of(&self, number: u64) -> Ticket {
        self.hand.items.iter().find(|(_, item)| item.receipt.0[0] == number).unwrap().0
    }

    fn end(&mut self, number: u64) {
        let ticket = self.ticket_of(number);
        self.hand.end(ticket).unwrap();
    }

    fn fail(&mut self, number: u64, wait: Duration) {
        let ticket = self.ticket_of(number);
        self.hand.wait(ticket, self.now.at + wait);
    }
}

#[test]
fn messages_of_one_key_run_one_at_a_time_in_order_and_others_beside_them() {
    let mut f = Fixture::new(Bounds { concurrency: 3, ..BOUNDS });
    assert!(f.arrive("a").is_some());
    assert!(f.arrive("a").is_none());
    assert!(f.arrive("b").is_some());
    assert!(f.arrive("a").is_none());
    assert!(f.arrive("").is_some());
    assert_eq!(f.start_all(), [0u64; 0]);
    f.end(1);
    assert_eq!(f.start_all(), [2]);
    f.end(3);
    f.end(2);
    assert_eq!(f.start_all(), [4]);
}

#[test]
fn a_message_that_is_over_at_once_needs_no_lane() {
    let mut f = Fixture::new(BOUNDS);
    let first = f.arrive("a").unwrap();
    f.hand.end(first).unwrap();
    assert!(f.hand.lanes.is_empty());
    assert!(f.arrive("a").is_some());
}

#[test]
fn no_more_run_than_may_and_a_queue_is_kept_in_order() {
    let mut f = Fixture::new(BOUNDS);
    let runs: Vec<_> = ["", "", "", "a", "", "a"].iter().map(|key| f.arrive(key).is_some()).collect();
    assert_eq!(runs, [true, true, false, false, false, false]);
    f.end(1);
    assert_eq!(f.start_all(), [3]);
    f.end(2);
    f.end(3);
    assert_eq!(f.start_all(), [4, 5]);
}

#[test]
fn with_keys_that_do_not_matter_all_run_beside_each_other() {
    let mut f = Fixture::new(Bounds { ordered: false, ..BOUNDS });
    assert!(f.arrive("a").is_some() && f.arrive("a").is_some());
}

#[test]
fn a_failing_key_is_parked_with_all_behind_it_and_takes_no_room() {
    let mut f = Fixture::new(BOUNDS);
    f.arrive("a");
    f.arrive("a");
    assert_eq!(f.hand.room(), 4);
    f.fail(1, SECOND);
    f.arrive("a");
    assert_eq!((f.hand.parked, f.hand.flight_room(), f.hand.room()), (3, 8, 1));
    assert!(f.arrive("b").is_some(), "another key runs at once");
    f.hand.wake(f.now.at);
    assert_eq!(f.start_all(), [0u64; 0]);
    f.hand.wake(f.now.at + SECOND);
    assert_eq!(f.start_all(), [1]);
    assert_eq!(f.hand.parked, 2, "those behind it stay parked while it is tried again");
    f.end(1);
    f.end(4);
    assert_eq!((f.start_all(), f.hand.parked), (vec![2], 1));
    f.end(2);
    assert_eq!((f.start_all(), f.hand.parked), (vec![3], 0));
    f.end(3);
    assert_eq!((f.hand.len(), f.hand.parked_bytes, f.hand.lanes.len()), (0, 0, 0));
}

#[test]
fn when_too_much_is_parked_there_is_no_room_and_the_key_is_named() {
    let mut f = Fixture::new(BOUNDS);
    f.arrive("b");
    f.arrive("a");
    f.fail(2, SECOND);
    for _ in 0..3 {
        assert!(!f.hand.is_blocked());
        f.arrive("a");
    }
    assert!(f.hand.is_blocked());
    assert_eq!((f.hand.room(), f.hand.longest_lane().unwrap().as_str()), (0, "a"));
}

#[test]
fn parked_bytes_block_too() {
    let mut f = Fixture::new(Bounds { parked_bytes: 1, ..BOUNDS });
    f.arrive("");
    f.fail(1, SECOND);
    assert!(f.hand.is_blocked());
}

#[test]
fn outcomes_that_are_not_stored_take_room() {
    let mut f = Fixture::new(Bounds { in_flight: 1, ..BOUNDS });
    f.arrive("");
    f.end(1);
    f.hand.settling(1);
    assert_eq!(f.hand.room(), 0);
    f.hand.settled(1);
    assert_eq!(f.hand.room(), 1);
}

#[test]
fn a_slow_key_takes_no_room_from_others_for_longer_than_a_second() {
    let mut f = Fixture::new(Bounds { in_flight: 3, ..BOUNDS });
    for _ in 0..3 {
        f.arrive("slow");
    }
    assert_eq!(f.hand.room(), 0);
    assert_eq!(f.hand.park_behind_slow(f.now.at), Some(f.now.at + SLOW));
    assert_eq!(f.hand.park_behind_slow(f.now.at + SLOW), None);
    assert_eq!(f.hand.room(), 2);
    assert!(f.arrive("quick").is_some());
}

#[test]
fn what_is_handed_back_goes_in_order_and_what_runs_stays() {
    let mut f = Fixture::new(BOUNDS);
    for key in ["a", "b", "a", "", "b"] {
        f.arrive(key);
    }
    f.fail(1, SECOND);
    let back: Vec<_> = f.hand.end_idle(|_| true).iter().map(|item| item.receipt.0[0]).collect();
    assert_eq!(back, [1, 3, 4, 5]);
    assert_eq!((f.hand.len(), f.hand.running(), f.hand.parked), (1, 1, 0));
    f.end(2);
    assert!(f.hand.lanes.is_empty() && f.hand.ready.is_empty());
}

#[test]
fn a_head_that_is_lost_lets_the_next_of_its_key_run() {
    let mut f = Fixture::new(BOUNDS);
    f.arrive("a");
    f.arrive("a");
    f.fail(1, SECOND);
    f.hand.end_idle(|item| item.receipt == Receipt([1, 0, 0]));
    assert_eq!(f.start_all(), [2]);
    f.hand.wake(f.now.at + SECOND);
    assert_eq!(f.start_all(), [0u64; 0], "its wait is forgotten");
}

#[test]
fn a_buried_message_holds_its_key() {
    let mut f = Fixture::new(BOUNDS);
    f.arrive("a");
    f.arrive("a");
    let first = f.ticket_of(1);
    f.hand.bury(first);
    assert_eq!(
        (f.start_all(), f.hand.running(), f.hand.end_idle(|item| item.receipt == Receipt([1, 0, 0])).len()),
        (vec![], 0, 0)
    );
    f.end(1);
    assert_eq!(f.start_all(), [2]);
}

#[test]
fn a_suspect_runs_alone() {
    let mut f = Fixture::new(BOUNDS);
    f.arrive("a");
    assert_eq!(f.arrive_as("b", true), None);
    assert_eq!((f.start_all(), f.hand.next_suspect(7)), (vec![], None));
    f.end(1);
    let suspect = f.hand.next_suspect(7).unwrap();
    assert_eq!(f.number(suspect), 2);
}
