//! A hand through any course of events, against a [`model`]: one message of a key runs at a time, in the order of arrival; nothing is
//! lost, ended twice or stuck; the bounds hold; a failing key stops no other.

mod model;

use std::{
    sync::{Arc, LazyLock},
    time::SystemTime,
};

use bytes::Bytes;
use proptest::{
    collection::vec,
    option, prop_assert, prop_assert_eq, prop_compose, prop_oneof, proptest,
    strategy::{Just, Strategy},
};
use tidings_core::{Message, Receipt, Source, Topic};

use self::model::{Doing, Model};
use super::*;
use crate::{
    Publisher,
    delivery::{
        policy::Suspicion,
        simulation::{Checked, config},
    },
    handlers::{Delivered, Place, SubscriptionName},
};

/// What may happen to a hand. Whatever names a message or a count takes what there is of them, modulo.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The broker is asked for what there is room for.
    Ask,
    /// One of what was asked for comes. `may_start` is whether the turn has time for it, `first` how its first poll ends, if it does.
    Arrive {
        key: Option<u8>,
        size: usize,
        suspect: bool,
        may_start: bool,
        first: Option<End>,
    },
    /// The next message begins.
    Start {
        first: Option<End>,
    },
    StartSuspect {
        draw: u64,
    },
    /// An attempt ends that runs as a task.
    Ended {
        which: usize,
        how: End,
    },
    /// A dead letter is stored.
    Buried {
        which: usize,
    },
    /// Outcomes are stored.
    Settled {
        count: usize,
    },
    /// Time passes.
    Pass {
        millis: u64,
    },
    LookForSlow,
    /// The broker says of some, by their numbers' last bits, that another has them.
    Lost {
        mask: u16,
    },
    /// The broker wants some back, or all.
    HandBack {
        mask: u16,
    },
}

/// How an attempt ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// Its message is over: handled, or back at the broker.
    Over,
    /// Another attempt follows after so many milliseconds.
    Fails(u64),
    /// A dead letter is stored first.
    GivenUp,
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![4 => Just(End::Over), 3 => (0..2_000_u64).prop_map(End::Fails), 1 => Just(End::GivenUp)]
}

fn step() -> impl Strategy<Value = Step> {
    let arrival = (option::weighted(0.8, 0..3_u8), 0..40_usize, (0..12_u8), (0..8_u8), option::of(end()));
    let arrive = arrival.prop_map(|(key, size, suspect, late, first)| {
        let (suspect, may_start) = (suspect == 0, late > 0);
        Step::Arrive { key, size, suspect, may_start, first }
    });
    prop_oneof![
        4 => Just(Step::Ask),
        10 => arrive,
        6 => option::of(end()).prop_map(|first| Step::Start { first }),
        2 => (0..u64::MAX).prop_map(|draw| Step::StartSuspect { draw }),
        8 => (0..64_usize, end()).prop_map(|(which, how)| Step::Ended { which, how }),
        2 => (0..64_usize).prop_map(|which| Step::Buried { which }),
        4 => (0..8_usize).prop_map(|count| Step::Settled { count }),
        4 => (0..1_500_u64).prop_map(|millis| Step::Pass { millis }),
        2 => Just(Step::LookForSlow),
        1 => (0..=u16::MAX).prop_map(|mask| Step::Lost { mask }),
        1 => prop_oneof![Just(u16::MAX), 0..=u16::MAX].prop_map(|mask| Step::HandBack { mask }),
    ]
}

prop_compose! {
    fn bounds()(concurrency in 1..4_usize, more in 0..6_usize, parked in 1..8_usize, parked_bytes in 1..300_usize, ordered in 0..8_u8)
        -> Bounds
    {
        Bounds { in_flight: concurrency + more, concurrency, parked, parked_bytes, ordered: ordered > 0 }
    }
}

/// A hand, its model, and what the loop around it knows.
struct Course {
    hand: Hand,
    model: Model,
    now: Instant,
    /// What the broker may still send.
    asked: usize,
    arrived: u64,
}

impl Course {
    fn new(bounds: Bounds) -> Self {
        Self { hand: Hand::new(bounds), model: Model::new(bounds), now: Instant::now(), asked: 0, arrived: 0 }
    }

    fn take(&mut self, step: Step) -> Checked {
        match step {
            Step::Ask => self.asked = self.hand.room(),
            Step::Arrive { .. } if self.asked == 0 => {}
            Step::Arrive { key, size, suspect, may_start, first } => {
                self.asked -= 1;
                self.arrive(key, size, suspect, may_start, first)?;
            }
            // The loop begins nothing beside a suspect.
            Step::Start { .. } if self.suspect_runs() => {}
            Step::Start { first } => self.start(first)?,
            Step::StartSuspect { draw } => self.start_suspect(draw)?,
            Step::Ended { which, how } => {
                if let Some(number) = one_of(&self.model.running(), which) {
                    self.ended(self.ticket(number), how)?;
                }
            }
            Step::Buried { which } => self.buried(which)?,
            Step::Settled { count } => self.settled(count),
            Step::Pass { millis } => self.pass(Duration::from_millis(millis)),
            Step::LookForSlow => {
                let again = self.hand.park_behind_slow(self.now);
                prop_assert_eq!(again, self.model.looked_for_slow(self.now), "when to look for slow ones again");
            }
            Step::Lost { mask } => self.lost(mask)?,
            Step::HandBack { mask } => self.hand_back(mask, true)?,
        }
        self.model.stepped();
        self.model.check(&self.hand, self.now)
    }

    fn ticket(&self, number: u64) -> Ticket {
        let named = |(_, item): &(Ticket, &Item)| item.receipt.0[0] == number;
        self.hand.items.iter().find(named).map_or(Ticket::MAX, |(ticket, _)| ticket)
    }

    fn number(&self, ticket: Ticket) -> u64 {
        self.hand.get(ticket).map_or(0, |item| item.receipt.0[0])
    }

    fn suspect_runs(&self) -> bool {
        self.model.messages.iter().any(|message| message.suspect && matches!(message.doing, Doing::Running(_)))
    }

    fn arrive(&mut self, key: Option<u8>, size: usize, suspect: bool, may_start: bool, first: Option<End>) -> Checked {
        self.arrived += 1;
        let number = self.arrived;
        let mut item = item(number, key, size, self.now);
        if suspect {
            item.suspicion = Suspicion::Suspect;
        }
        let size = item.delivered.message.size();
        let may_start = may_start && !self.model.suspects_ready() && !self.suspect_runs();
        let (key, doing) = (key.filter(|_| self.model.bounds.ordered), Doing::Idle(None));
        let starts = self.model.arrived(model::Message { number, key, size, suspect, lost: false, doing });
        let begun = self.hand.admit(item, may_start);
        prop_assert_eq!(begun.is_some(), starts && may_start, "{} begins as it comes", number);
        begun.map_or(Ok(()), |ticket| self.begin(ticket, first))
    }

    /// Polls it once.
    fn begin(&mut self, ticket: Ticket, first: Option<End>) -> Checked {
        self.model.began(self.number(ticket), self.now)?;
        if let Some(item) = self.hand.get_mut(ticket) {
            item.started = self.now;
        }
        match first {
            None => self.hand.keep(ticket),
            Some(how) => self.ended(ticket, how)?,
        }
        Ok(())
    }

    fn start(&mut self, first: Option<End>) -> Checked {
        let may = self.model.can_start();
        let begun = self.hand.next();
        prop_assert_eq!(begun.is_some(), may, "the next one begins");
        begun.map_or(Ok(()), |ticket| self.begin(ticket, first))
    }

    fn start_suspect(&mut self, draw: u64) -> Checked {
        let may = self.model.suspects_ready() && self.model.running().is_empty();
        let begun = self.hand.next_suspect(draw);
        prop_assert_eq!(begun.is_some(), may, "a suspect begins");
        let Some(ticket) = begun else { return Ok(()) };
        let number = self.number(ticket);
        prop_assert!(self.model.get_mut(number).is_some_and(|message| message.suspect), "{number} is no suspect");
        self.begin(ticket, None)
    }

    fn ended(&mut self, ticket: Ticket, how: End) -> Checked {
        let number = self.number(ticket);
        let lost = self.model.get_mut(number).is_some_and(|message| message.lost);
        match how {
            End::Over => self.over(ticket),
            // Another has it.
            _ if lost => self.over(ticket),
            End::Fails(millis) => {
                let due = self.now + Duration::from_millis(millis);
                self.hand.wait(ticket, due);
                self.model.failed(number, Doing::Waiting(due));
                // What is due at once is so when the loop looks next.
                self.pass(Duration::ZERO);
                Ok(())
            }
            End::GivenUp => {
                self.hand.bury(ticket);
                self.model.failed(number, Doing::Burying);
                Ok(())
            }
        }
    }

    /// It leaves, and its outcome is handed to the broker unless it was lost.
    fn over(&mut self, ticket: Ticket) -> Checked {
        let number = self.number(ticket);
        let lost = self.model.get_mut(number).is_some_and(|message| message.lost);
        let item = self.hand.end(ticket);
        prop_assert_eq!(item.map(|item| item.receipt.0[0]), Some(number), "what ends");
        prop_assert!(self.hand.end(ticket).is_none(), "{number} ends twice");
        if !lost {
            self.settling(1);
        }
        self.model.leave(&[number])
    }

    fn settling(&mut self, count: usize) {
        self.hand.settling(count);
        self.model.unsettled += count;
    }

    fn settled(&mut self, count: usize) {
        let count = count.min(self.model.unsettled);
        self.hand.settled(count);
        self.model.unsettled -= count;
    }

    fn buried(&mut self, which: usize) -> Checked {
        let buried = self.model.numbers(|message| message.doing == Doing::Burying);
        let mut known: Vec<u64> = self.hand.burying().map(|ticket| self.number(ticket)).collect();
        known.sort_unstable();
        prop_assert_eq!(&known, &buried, "what is being buried");
        one_of(&buried, which).map_or(Ok(()), |number| self.over(self.ticket(number)))
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.hand.wake(self.now);
        self.model.woke(self.now);
    }

    fn lost(&mut self, mask: u16) -> Checked {
        self.hand_back(mask, false)?;
        for item in self.hand.iter_mut().filter(|item| is_chosen(item, mask)) {
            item.lost = true;
            if let Some(message) = self.model.get_mut(item.receipt.0[0]) {
                message.lost = true;
            }
        }
        Ok(())
    }

    /// Takes out what is idle, in order; what runs and what is being buried stays.
    fn hand_back(&mut self, mask: u16, settles: bool) -> Checked {
        let idle = |doing| matches!(doing, Doing::Idle(_) | Doing::Waiting(_));
        let expected = self.model.numbers(|message| idle(message.doing) && is_chosen_number(message.number, mask));
        let ended = self.hand.end_idle(|item| is_chosen(item, mask));
        let numbers: Vec<u64> = ended.iter().map(|item| item.receipt.0[0]).collect();
        prop_assert_eq!(&numbers, &expected, "what goes back, in order");
        if settles {
            self.settling(numbers.len());
        }
        self.model.leave(&numbers)
    }

    /// Every handler ends and time passes: in each round something ends, until nothing is left.
    fn finish(mut self) -> Checked {
        while !self.hand.is_empty() {
            let before = self.hand.len();
            self.pass(Duration::from_secs(3600));
            self.take(Step::StartSuspect { draw: 0 })?;
            while self.model.can_start() && !self.suspect_runs() {
                self.take(Step::Start { first: None })?;
            }
            for number in self.model.numbers(|message| matches!(message.doing, Doing::Running(_) | Doing::Burying)) {
                self.over(self.ticket(number))?;
                self.model.stepped();
            }
            prop_assert!(self.hand.len() < before, "stuck: {:?}", self.model.messages);
        }
        self.settled(usize::MAX);
        self.model.check(&self.hand, self.now)?;
        prop_assert_eq!(self.model.left.len() as u64, self.arrived, "all that came left");
        let Hand { lanes, ready, waiting, suspects, bounds, .. } = &self.hand;
        prop_assert!(lanes.is_empty() && ready.is_empty() && waiting.is_empty() && *suspects == 0, "leftovers: {:?}", self.hand);
        prop_assert_eq!(self.hand.room(), bounds.in_flight.min(bounds.parked), "room");
        Ok(())
    }
}

fn one_of(numbers: &[u64], which: usize) -> Option<u64> {
    numbers.get(which % numbers.len().max(1)).copied()
}

fn is_chosen(item: &Item, mask: u16) -> bool {
    is_chosen_number(item.receipt.0[0], mask)
}

fn is_chosen_number(number: u64, mask: u16) -> bool {
    mask & (1 << (number % 16)) != 0
}

fn item(number: u64, key: Option<u8>, size: usize, now: Instant) -> Item {
    static PLACE: LazyLock<Arc<Place>> = LazyLock::new(|| {
        let publisher = Publisher::new(crate::delivery::tests::broker(), Source::new("/test").unwrap());
        let subscription = SubscriptionName { group: "g".parse().unwrap(), pattern: "t".parse().unwrap() };
        Arc::new(Place::new(subscription, publisher))
    });
    let message = Message::builder(Topic::new("t").unwrap(), Source::new("/test").unwrap(), Bytes::from(vec![0; size]))
        .key(key.map(|key| Key::new(&key.to_string()).unwrap()))
        .build();
    let delivered = Arc::new(Delivered { message, place: Arc::clone(&PLACE) });
    Item::new(delivered, Receipt([number, 0, 0]), Moment { at: now, wall: SystemTime::UNIX_EPOCH }, 0)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_hand_keeps_its_promises_through_any_course_of_events(bounds in bounds(), steps in vec(step(), 1..200)) {
        let mut course = Course::new(bounds);
        for step in steps {
            course.take(step)?;
        }
        course.finish()?;
    }
}
