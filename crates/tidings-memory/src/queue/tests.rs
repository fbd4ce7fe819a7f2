use std::time::Duration;

use bytes::Bytes;
use tidings_core::{Outcome, Source, Topic};

use super::*;

const A: MemberId = MemberId(1);
const B: MemberId = MemberId(2);
const ALL: usize = 1_000;

/// A queue with what its owner holds for it.
struct Case {
    queue: Queue,
    claims: u64,
    now: Instant,
}

impl Default for Case {
    fn default() -> Self {
        Self { queue: Queue::default(), claims: 0, now: Instant::now() }
    }
}

impl Case {
    fn with(members: &[MemberId], messages: &[(&str, &str)]) -> Self {
        let mut case = Self::default();
        for member in members {
            case.queue.join(*member, ALL, Arc::default());
        }
        for (body, key) in messages {
            case.push(body, key);
        }
        case
    }

    fn push(&mut self, body: &str, key: &str) {
        let key = (!key.is_empty()).then(|| Key::new(key).unwrap());
        let body = Bytes::copy_from_slice(body.as_bytes());
        let message = Message::builder(Topic::new("t").unwrap(), Source::new("/s").unwrap(), body).key(key).build();
        self.queue.push(&message, message.size());
    }

    fn take(&mut self, member: MemberId, max: usize) -> Vec<Delivery> {
        self.queue.take(0, member, max, &mut self.claims, || self.now).unwrap().deliveries
    }

    fn bodies(&mut self, member: MemberId, max: usize) -> String {
        bodies(&self.take(member, max))
    }

    fn settle(&mut self, deliveries: &[Delivery], outcome: Outcome) {
        for Delivery { receipt: Receipt([_, slot, claim]), .. } in deliveries {
            self.queue.settle(usize::try_from(*slot).unwrap(), *claim, outcome, &mut Settled::default(), || self.now);
        }
    }
}

fn bodies(deliveries: &[Delivery]) -> String {
    deliveries.iter().map(|delivery| String::from_utf8_lossy(delivery.message.body()).into_owned()).collect()
}

#[test]
fn a_single_member_gets_everything_in_order() {
    let mut case = Case::with(&[A], &[("1", "k"), ("2", ""), ("3", "k"), ("4", "")]);
    assert_eq!(case.bodies(A, 3), "123");
    assert_eq!(case.bodies(A, 3), "4");
}

#[test]
fn a_key_in_hand_goes_to_its_holder_alone() {
    let mut case = Case::with(&[A, B], &[("1", "k"), ("2", "k"), ("3", ""), ("4", "k"), ("5", "l")]);
    let first = case.take(A, 1);
    assert_eq!(case.bodies(B, ALL), "35");
    case.push("6", "k");
    assert_eq!(case.bodies(A, ALL), "246");
    case.settle(&first, Outcome::Ack);
    case.push("7", "k");
    assert_eq!(case.bodies(B, ALL), "");
    assert_eq!(case.bodies(A, ALL), "7");
}

#[test]
fn a_key_is_free_when_all_of_it_is_settled() {
    let mut case = Case::with(&[A, B], &[("1", "k"), ("2", "k")]);
    let held = case.take(A, ALL);
    case.settle(&held[..1], Outcome::Ack);
    case.push("3", "k");
    assert_eq!(case.bodies(B, ALL), "");
    case.settle(&held[1..], Outcome::Reject);
    let held = case.take(A, ALL);
    case.settle(&held, Outcome::Ack);
    case.push("4", "k");
    assert_eq!(case.bodies(B, ALL), "4");
}

#[test]
fn a_second_member_is_kept_from_keys_that_the_first_took_alone() {
    let mut case = Case::with(&[A], &[("1", "k"), ("2", "k")]);
    case.take(A, 1);
    case.queue.join(B, ALL, Arc::default());
    assert_eq!(case.bodies(B, ALL), "");
    assert_eq!(case.bodies(A, ALL), "2");
}

#[test]
fn what_a_member_leaves_goes_back_in_order() {
    let mut case = Case::with(&[A, B], &[("1", "k"), ("2", ""), ("3", "k"), ("4", "l")]);
    case.take(A, 2);
    assert_eq!(case.bodies(B, 1), "4");
    case.queue.leave(A);
    assert_eq!(case.bodies(B, ALL), "123");
    case.queue.leave(B);
    case.queue.join(A, ALL, Arc::default());
    assert_eq!(case.bodies(A, ALL), "1234");
}

#[test]
fn a_receipt_is_used_once() {
    let mut case = Case::with(&[A], &[("1", "")]);
    let old = case.take(A, 1);
    case.queue.leave(A);
    case.queue.join(B, ALL, Arc::default());
    let new = case.take(B, 1);
    case.settle(&old, Outcome::Ack);
    let Receipt([_, slot, claim]) = new[0].receipt;
    assert!(case.queue.holds(usize::try_from(slot).unwrap(), claim));
    assert_eq!(new[0].deliveries, Some(2));
    case.settle(&new, Outcome::Ack);
    case.settle(&new, Outcome::HandBack);
    assert_eq!(case.bodies(B, ALL), "");
}

#[test]
fn handing_back_keeps_the_order_of_a_key_and_is_no_attempt() {
    let mut case = Case::with(&[A, B], &[("1", "k"), ("2", "k"), ("3", "k")]);
    let held = case.take(A, 2);
    assert_eq!(case.bodies(B, ALL), "");
    case.settle(&held[..1], Outcome::HandBack);
    assert_eq!(case.bodies(B, ALL), "");
    let again = case.take(A, ALL);
    assert_eq!((bodies(&again).as_str(), again[0].attempts), ("13", 0));
}

#[test]
fn a_retry_waits_without_its_key_and_counts() {
    let mut case = Case::with(&[A], &[("1", "k"), ("2", "k")]);
    let held = case.take(A, 1);
    case.settle(&held, Outcome::Retry { after: Duration::from_secs(2), attempts: 1 });
    assert_eq!(case.bodies(A, ALL), "2");
    case.now += Duration::from_millis(1_999);
    assert_eq!(case.bodies(A, ALL), "");
    case.now += Duration::from_millis(1);
    let again = case.take(A, ALL);
    assert_eq!((bodies(&again).as_str(), again[0].attempts, again[0].deliveries), ("1", 1, Some(2)));
    case.settle(&again, Outcome::Retry { after: Duration::ZERO, attempts: 3 });
    assert_eq!(case.take(A, ALL)[0].attempts, 3);
}

#[test]
fn a_member_holds_no_more_than_it_may() {
    let mut case = Case::default();
    case.queue.join(A, 2, Arc::default());
    for body in ["1", "2", "3"] {
        case.push(body, "");
    }
    let held = case.take(A, ALL);
    assert_eq!(bodies(&held), "12");
    assert_eq!(case.queue.take(0, A, ALL, &mut 0, Instant::now).unwrap().until, Until::Room);
    case.settle(&held[1..], Outcome::Ack);
    assert_eq!(case.bodies(A, ALL), "3");
}

#[test]
fn it_is_full_by_messages_or_bytes_but_takes_one_of_any_size() {
    let mut case = Case::default();
    assert!(!case.queue.is_full(usize::MAX, 1, 1));
    case.push("1", "");
    assert!(case.queue.is_full(1, 1, usize::MAX));
    assert!(case.queue.is_full(1_000, 2, 1_000));
    assert!(!case.queue.is_full(1, 2, 1_000));
}
