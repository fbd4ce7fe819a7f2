//! What this instance holds of a consumer, and until when: plain bookkeeping; the settling half sends what comes of it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_nats::Subject;
use bytes::Bytes;
use foldhash::fast::RandomState;
use tidings_core::{Outcome, Receipt};
use tokio::time::Instant;

/// Failed messages whose attempts are remembered while they are back at the server.
const REMEMBERED: usize = 65_536;

const ACK: Bytes = Bytes::from_static(b"+ACK");
const TERM: Bytes = Bytes::from_static(b"+TERM");
const NAK: Bytes = Bytes::from_static(b"-NAK");
const PROGRESS: Bytes = Bytes::from_static(b"+WPI");

/// A word for the server about one delivery.
pub(super) type Word = (Subject, Bytes);

/// Where a delivery stands, as the server wrote it into the subject that its acknowledgement goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) deliveries: u32,
    pub(super) stream: u64,
    pub(super) consumer: u64,
}

/// The deliveries in hand.
#[derive(Default)]
pub(super) struct Held(Mutex<State>);

#[derive(Default)]
struct State {
    /// By their number in the stream.
    entries: HashMap<u64, Entry, RandomState>,
    /// Attempts that failed here, by number in the stream: the server cannot carry them.
    attempts: BTreeMap<u64, u32>,
    settled: u64,
    /// Entries that were handed back.
    back: usize,
}

struct Entry {
    consumer: u64,
    reply: Subject,
    until: Instant,
    back: bool,
}

impl Place {
    /// `$JS.ACK.<stream>.<consumer>.<deliveries>.<in the stream>.<in the consumer>.<time>.<pending>`, with the domain and
    /// the account before the stream in newer servers.
    pub(super) fn of(reply: &str) -> Option<Self> {
        let dots = reply.bytes().filter(|&byte| byte == b'.').count();
        let mut numbers = reply.strip_prefix("$JS.ACK.")?.split('.').skip(if dots >= 10 { 4 } else { 2 });
        let mut next = || numbers.next()?.parse::<u64>().ok();
        let (deliveries, stream, consumer) = (next()?, next()?, next()?);
        Some(Self { deliveries: u32::try_from(deliveries).unwrap_or(u32::MAX), stream, consumer })
    }

    pub(super) fn receipt(self) -> Receipt {
        Receipt([self.stream, self.consumer, 0])
    }
}

impl Held {
    /// Takes deliveries into the hand, for each the attempts that failed here; answers the older deliveries of the same
    /// messages, which are lost.
    pub(super) fn take(&self, batch: impl Iterator<Item = (Place, Subject, Instant)>) -> (Vec<u32>, Vec<Receipt>) {
        let mut state = self.lock();
        let mut lost = Vec::new();
        let attempts = batch
            .map(|(place, reply, until)| {
                let entry = Entry { consumer: place.consumer, reply, until, back: false };
                if let Some(older) = state.remove(place.stream) {
                    lost.push(Receipt([place.stream, older.consumer, 0]));
                }
                state.entries.insert(place.stream, entry);
                state.attempts.get(&place.stream).copied().unwrap_or_default()
            })
            .collect();
        (attempts, lost)
    }

    /// Settles a batch; what to tell the server. What is handed back stays until there is nobody here to take it again, and
    /// what is to come again does so without a word when its lease has ended.
    pub(super) fn settle(&self, batch: &[(Receipt, Outcome)], now: Instant) -> Vec<Word> {
        let mut state = self.lock();
        batch.iter().filter_map(|(receipt, outcome)| state.settle(*receipt, *outcome, now)).collect()
    }

    /// What keeps the leases of these, and those that are lost.
    pub(super) fn extend(&self, batch: &[Receipt], now: Instant) -> (Vec<Word>, Vec<Receipt>) {
        let mut state = self.lock();
        let (mut words, mut lost) = (Vec::new(), Vec::new());
        for receipt in batch {
            match state.find(*receipt) {
                Some(entry) if entry.until > now => words.push((entry.reply.clone(), PROGRESS)),
                Some(_) => {
                    state.remove(receipt.0[0]);
                    lost.push(*receipt);
                }
                None => {}
            }
        }
        (words, lost)
    }

    /// The server was told: these are ours until then.
    pub(super) fn extended(&self, batch: &[Receipt], until: Instant) {
        let mut state = self.lock();
        for receipt in batch {
            if let Some(entry) = state.find(*receipt) {
                entry.until = until;
            }
        }
    }

    /// What was handed back and is still ours, in the stream's order.
    pub(super) fn take_handed_back(&self, now: Instant) -> Vec<Word> {
        let mut state = self.lock();
        if std::mem::take(&mut state.back) == 0 {
            return Vec::new();
        }
        let mut back: Vec<_> = state.entries.extract_if(|_, entry| entry.back).filter(|(_, entry)| entry.until > now).collect();
        back.sort_unstable_by_key(|(stream, _)| *stream);
        back.into_iter().map(|(_, entry)| (entry.reply, NAK)).collect()
    }

    /// Everything that is still ours goes back, with `unseen`, in the stream's order.
    pub(super) fn take_all(&self, unseen: impl Iterator<Item = (Place, Subject)>, now: Instant) -> Vec<Word> {
        let mut state = self.lock();
        state.back = 0;
        let held = std::mem::take(&mut state.entries).into_iter();
        let held = held.filter(|(_, entry)| entry.until > now).map(|(stream, entry)| (stream, entry.reply));
        let mut all: Vec<_> = held.chain(unseen.map(|(place, reply)| (place.stream, reply))).collect();
        all.sort_unstable_by_key(|(stream, _)| *stream);
        all.into_iter().map(|(_, reply)| (reply, NAK)).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// How many were settled so far, and not handed back.
    pub(super) fn settled(&self) -> u64 {
        self.lock().settled
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&mut self, Receipt([stream, consumer, _]): Receipt) -> Option<&mut Entry> {
        self.entries.get_mut(&stream).filter(|entry| entry.consumer == consumer)
    }

    fn remove(&mut self, stream: u64) -> Option<Entry> {
        let entry = self.entries.remove(&stream)?;
        self.back -= usize::from(entry.back);
        Some(entry)
    }

    fn settle(&mut self, receipt: Receipt, outcome: Outcome, now: Instant) -> Option<Word> {
        let entry = self.find(receipt)?;
        if outcome == Outcome::HandBack {
            let first = !std::mem::replace(&mut entry.back, true);
            self.back += usize::from(first);
            return None;
        }
        let stream = receipt.0[0];
        let Entry { reply, until, .. } = self.remove(stream)?;
        self.settled += 1;
        let word = match outcome {
            Outcome::Ack => ACK,
            Outcome::Reject => TERM,
            Outcome::Retry { after, attempts } => {
                self.remember(stream, attempts);
                return (until > now).then(|| (reply, nak(after)));
            }
            Outcome::HandBack => NAK,
        };
        if !self.attempts.is_empty() {
            self.attempts.remove(&stream);
        }
        Some((reply, word))
    }

    fn remember(&mut self, stream: u64, attempts: u32) {
        self.attempts.insert(stream, attempts);
        if self.attempts.len() > REMEMBERED {
            self.attempts.pop_first();
        }
    }
}

/// Handed back, at once.
pub(super) fn nak_now(reply: Subject) -> Word {
    (reply, NAK)
}

/// Acknowledged.
pub(super) fn ack(reply: Subject) -> Word {
    (reply, ACK)
}

fn nak(after: Duration) -> Bytes {
    if after.is_zero() { NAK } else { format!("-NAK {{\"delay\":{}}}", after.as_nanos().min(u128::from(LONGEST_DELAY))).into() }
}

/// A signed number of nanoseconds, less the lease that the server subtracts.
const LONGEST_DELAY: u64 = i64::MAX as u64 / 2;

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(10);

    fn place(stream: u64, consumer: u64) -> Place {
        Place { deliveries: 1, stream, consumer }
    }

    fn take(held: &Held, stream: u64, consumer: u64, now: Instant) -> (u32, Vec<Receipt>) {
        let one = [(place(stream, consumer), Subject::from(format!("ack.{stream}.{consumer}")), now + LEASE)];
        let (attempts, lost) = held.take(one.into_iter());
        (attempts[0], lost)
    }

    fn said(words: &[Word]) -> Vec<String> {
        words.iter().map(|(to, word)| format!("{to} {}", str::from_utf8(word).unwrap())).collect()
    }

    #[test]
    fn a_place_is_read_from_either_form() {
        let expected = Some(Place { deliveries: 2, stream: 17, consumer: 5 });
        assert_eq!(Place::of("$JS.ACK.S.email=a=b.2.17.5.1700000000.3"), expected);
        assert_eq!(Place::of("$JS.ACK.hub.ACCOUNT.S.C.2.17.5.1700000000.3"), expected);
        assert_eq!(Place::of("$JS.ACK.hub.ACCOUNT.S.C.2.17.5.1700000000.3.random"), expected);
        for other in ["", "_INBOX.x", "$JS.ACK.S.C.x.1.1.1.1", "$JS.ACK"] {
            assert_eq!(Place::of(other), None, "{other}");
        }
    }

    #[test]
    fn each_outcome_has_its_word() {
        let (held, now) = (Held::default(), Instant::now());
        for stream in 1..=5 {
            take(&held, stream, stream, now);
        }
        let after = Duration::from_secs(2);
        let words = held.settle(
            &[
                (place(1, 1).receipt(), Outcome::Ack),
                (place(2, 2).receipt(), Outcome::Reject),
                (place(3, 3).receipt(), Outcome::Retry { after, attempts: 1 }),
                (place(4, 4).receipt(), Outcome::Retry { after: Duration::ZERO, attempts: 1 }),
                (place(5, 5).receipt(), Outcome::HandBack),
                (place(1, 1).receipt(), Outcome::Reject),
                (place(9, 9).receipt(), Outcome::Ack),
            ],
            now,
        );
        let expected = ["ack.1.1 +ACK", "ack.2.2 +TERM", "ack.3.3 -NAK {\"delay\":2000000000}", "ack.4.4 -NAK"];
        assert_eq!(said(&words), expected);
        assert_eq!((held.len(), held.settled()), (1, 4));
        assert_eq!(said(&held.take_handed_back(now)), ["ack.5.5 -NAK"]);
        assert!(held.take_handed_back(now).is_empty());
    }

    #[test]
    fn attempts_are_remembered_until_it_is_settled_for_good() {
        let (held, now) = (Held::default(), Instant::now());
        assert_eq!(take(&held, 7, 1, now).0, 0);
        held.settle(&[(place(7, 1).receipt(), Outcome::Retry { after: LEASE, attempts: 3 })], now);
        assert_eq!(take(&held, 7, 2, now).0, 3);
        held.settle(&[(place(7, 2).receipt(), Outcome::Ack)], now);
        assert_eq!(take(&held, 7, 3, now).0, 0);
    }

    #[test]
    fn a_second_delivery_ends_the_first() {
        let (held, now) = (Held::default(), Instant::now());
        take(&held, 7, 1, now);
        assert_eq!(take(&held, 7, 2, now).1, [place(7, 1).receipt()]);
        assert!(held.settle(&[(place(7, 1).receipt(), Outcome::Ack)], now).is_empty());
        assert_eq!(held.len(), 1);
    }

    #[test]
    fn a_lease_that_nothing_kept_is_lost() {
        let (held, now) = (Held::default(), Instant::now());
        take(&held, 1, 1, now);
        take(&held, 2, 2, now);
        let both = [place(1, 1).receipt(), place(2, 2).receipt()];
        held.extended(&both[..1], now + 2 * LEASE);
        let (words, lost) = held.extend(&both, now + LEASE);
        assert_eq!((said(&words), lost), (vec!["ack.1.1 +WPI".to_owned()], vec![both[1]]));
    }

    #[test]
    fn nothing_is_said_of_what_comes_again_by_itself() {
        let (held, now) = (Held::default(), Instant::now());
        for stream in 1..=4 {
            take(&held, stream, stream, now);
        }
        held.settle(&[(place(1, 1).receipt(), Outcome::HandBack)], now);
        let retry = Outcome::Retry { after: Duration::ZERO, attempts: 1 };
        let words = held.settle(&[(place(2, 2).receipt(), retry), (place(3, 3).receipt(), Outcome::Ack)], now + LEASE);
        assert_eq!(said(&words), ["ack.3.3 +ACK"]);
        assert!(held.take_handed_back(now + LEASE).is_empty());
        assert!(held.take_all(std::iter::empty(), now + LEASE).is_empty());
        assert_eq!(take(&held, 2, 5, now + LEASE).0, 1);
    }

    #[test]
    fn what_is_left_goes_back_in_the_streams_order() {
        let (held, now) = (Held::default(), Instant::now());
        for stream in [5, 3, 4] {
            take(&held, stream, stream, now);
        }
        held.settle(&[(place(4, 4).receipt(), Outcome::HandBack)], now);
        let unseen = [(place(6, 6), Subject::from_static("ack.6.6"))];
        let words = held.take_all(unseen.into_iter(), now);
        assert_eq!(said(&words), ["ack.3.3 -NAK", "ack.4.4 -NAK", "ack.5.5 -NAK", "ack.6.6 -NAK"]);
        assert!(held.take_handed_back(now).is_empty());
    }
}
