//! The work of one subscription: what happens to a message from its arrival to its outcome.

use std::{mem, sync::Arc, time::Duration};

use tidings_core::{Delivery, Health, Outcome, Receipt};
use tokio::{sync::mpsc::UnboundedSender, time::Instant};
use tracing::Span;

use super::{
    Event, Ground,
    alone::Pass,
    attempt::{self, Ended, How, Task},
    backlog::Watched,
    burial::Burial,
    cells::Cells,
    hand::{Hand, Item, Moment, Ticket},
    leases::Held,
    letter::{self, Reason},
    plan::Plan,
    policy::{self, Dice, Suspicion},
    polls::Polls,
    settling::Outcomes,
    tries::Tries,
    turns::Phase,
    watch,
};
use crate::{
    handlers::{Context, Slot, empty_slot},
    metrics::SubscriptionMetrics,
    trace,
};

/// How long attempts are polled in place before others of the process get a turn.
const TURN: Duration = Duration::from_millis(1);

/// Where a subscription's loop sends what others do for it.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) events: UnboundedSender<Event>,
    pub(super) outcomes: UnboundedSender<Outcomes>,
    pub(super) burials: UnboundedSender<Burial>,
    pub(super) held: Held,
}

/// The work of one subscription.
pub(super) struct Work {
    pub(super) plan: Plan,
    pub(super) ground: Ground,
    pub(super) metrics: SubscriptionMetrics,
    pub(super) outlets: Outlets,
    pub(super) hand: Hand,
    pub(super) phase: Phase,
    pub(super) pass: Pass,
    pub(super) tries: Tries,
    pub(super) dice: Dice,
    /// Whether something is ready that may not run beside what others run.
    pub(super) gated: bool,
    /// Until it is drained.
    backlog: Option<Watched>,
    began: Moment,
    cells: Cells,
    /// The box that attempts are polled in, and others that were in use by tasks.
    slot: Slot,
    slots: Vec<Slot>,
    polls: Polls,
    /// Outcomes of this turn.
    outcomes: Outcomes,
    handled: u64,
}

impl Work {
    pub(super) fn new(plan: Plan, ground: Ground, metrics: SubscriptionMetrics, outlets: Outlets) -> Self {
        let place = plan.place(ground.publisher.clone());
        Self {
            hand: Hand::new(plan.bounds),
            phase: Phase::Open,
            pass: ground.alone.pass(),
            tries: Tries::default(),
            dice: Dice::new(),
            gated: false,
            backlog: plan.backlog.clone().map(Watched::new),
            began: Moment::at(ground.clock.now()),
            cells: Cells::new(Arc::new(place), plan.bounds.in_flight),
            slot: empty_slot(),
            slots: Vec::new(),
            polls: Polls::default(),
            outcomes: Vec::new(),
            handled: 0,
            plan,
            ground,
            metrics,
            outlets,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.ground.clock.now()
    }

    /// Takes in what was fetched, and runs what may run at once.
    pub(super) fn take_in(&mut self, deliveries: Vec<Delivery>) {
        let fetched = self.began.later(self.now());
        if let Some(backlog) = &mut self.backlog
            && backlog.came(deliveries.iter().map(|delivery| &delivery.message))
        {
            self.backlog = None;
        }
        self.outlets.held.hold(deliveries.iter().map(|delivery| delivery.receipt), fetched.at);
        let open = !self.hand.suspects_ready() && self.pass.beside();
        let (mut now, end) = (fetched.at, fetched.at + TURN);
        for delivery in deliveries {
            let item = self.item(delivery, fetched);
            if let Some(ticket) = self.hand.admit(item, open && now < end) {
                now = self.attempt(ticket, now);
            }
        }
    }

    /// A fetch failed.
    pub(super) fn nothing_can_come(&mut self) {
        if let Some(backlog) = &mut self.backlog {
            backlog.failed();
        }
    }

    /// When to look again whether the backlog is drained; `idle` is whether something could come.
    pub(super) fn look_at_backlog(&mut self, now: Instant, idle: bool) -> Option<Instant> {
        let backlog = self.backlog.as_mut()?;
        let idle = idle && self.hand.is_empty();
        let again = backlog.look(now, idle, !matches!(self.ground.broker.health(), Health::Down(_)));
        if idle && again.is_none() {
            self.backlog = None;
        }
        again
    }

    fn item(&mut self, delivery: Delivery, fetched: Moment) -> Item {
        let Delivery { message, receipt, attempts, deliveries } = delivery;
        let tried = self.tries.recall(&message);
        let known = tried.map_or(0, |tried| tried.failures);
        let failures = attempts.max(letter::attempts_in(&message)).max(known);
        let mut item = Item::new(self.cells.fill(message), receipt, fetched, failures);
        item.first_attempt = tried.and_then(|tried| tried.first_attempt);
        item.suspicion = deliveries.map_or(Suspicion::None, |deliveries| policy::suspicion(&self.plan.retry, deliveries));
        item
    }

    /// Runs what is ready and may run; answers whether more is left than one turn takes.
    pub(super) fn start(&mut self) -> bool {
        self.gated = false;
        if self.hand.suspects_ready() {
            self.start_suspect();
        } else if self.hand.has_ready() {
            self.gated = !self.pass.beside();
            let mut now = self.now();
            let end = now + TURN;
            while !self.gated
                && now < end
                && let Some(ticket) = self.hand.next()
            {
                now = self.attempt(ticket, now);
            }
        }
        if self.hand.running() == 0 && !self.hand.suspects_ready() {
            self.pass.idle();
        }
        !self.gated && self.hand.can_start()
    }

    /// A suspect runs when nothing else does, here or beside; until then nothing else is begun.
    fn start_suspect(&mut self) {
        if self.hand.running() > 0 {
            return;
        }
        self.gated = !self.pass.alone();
        if self.gated {
            return;
        }
        let only_one = self.hand.suspects().count() == 1;
        if let Some(ticket) = self.hand.next_suspect(self.dice.draw()) {
            let again = self.hand.get(ticket).is_some_and(|item| item.suspicion == Suspicion::Again);
            if again && only_one {
                self.condemn(ticket);
            } else {
                if let Some(item) = self.hand.get(ticket) {
                    attempt::span_now(&item.delivered, item.failures.saturating_add(1)).in_scope(|| {
                        tracing::warn!(
                            handler = self.plan.handler_name,
                            "the message has come too often without an outcome: it runs alone"
                        );
                    });
                }
                self.attempt(ticket, self.now());
            }
        }
    }

    /// Runs one attempt, in place as far as it goes; answers the time after it.
    fn attempt(&mut self, ticket: Ticket, now: Instant) -> Instant {
        let Some(item) = self.hand.get_mut(ticket) else { return now };
        if item.suspicion == Suspicion::Condemned {
            self.condemn(ticket);
            return now;
        }
        item.started = now;
        let number = item.failures.saturating_add(1);
        let span = attempt::span(&item.delivered, number);
        if self.polls.are_long() {
            let context = Context::new(Arc::clone(&item.delivered), number);
            self.go_on(ticket, Some(context), span);
            return now;
        }
        let how = attempt::poll_in_place(&*self.plan.handler, &item.delivered, number, &mut self.slot, &span);
        let end = self.now();
        let took = end.saturating_duration_since(now);
        self.polls.took(took);
        match how {
            None => self.go_on(ticket, None, span),
            Some(how) => self.ended(ticket, how, took),
        }
        end
    }

    /// Makes a task of an attempt: of one that is pending in the slot, or of one that has not begun.
    fn go_on(&mut self, ticket: Ticket, anew: Option<Context>, span: Span) {
        self.hand.keep(ticket);
        let mut slot = self.slots.pop().unwrap_or_else(empty_slot);
        let anew = anew.map(|context| (Arc::clone(&self.plan.handler), context));
        if anew.is_none() {
            mem::swap(&mut slot, &mut self.slot);
        }
        let Some(item) = self.hand.get_mut(ticket) else { return };
        let deadline = item.started + self.plan.timeout;
        let (clock, events) = (self.ground.clock.clone(), self.outlets.events.clone());
        let task = Task { ticket, anew, slot, deadline, clock, events };
        let work = trace::Work::Attempt(Arc::clone(&item.delivered), item.failures.saturating_add(1));
        item.abort = Some(task.spawn(work, span));
    }

    /// An attempt that had become a task ended.
    pub(super) fn task_ended(&mut self, ended: Ended, now: Instant) {
        let Ended { ticket, how, slot, first_poll } = ended;
        if let Some(took) = first_poll {
            self.polls.took(took);
        }
        self.slots.extend(slot);
        if let Some(item) = self.hand.get(ticket) {
            let took = now.saturating_duration_since(item.started);
            self.ended(ticket, how, took);
        }
    }

    fn ended(&mut self, ticket: Ticket, how: How, took: Duration) {
        let Some(item) = self.hand.get(ticket) else { return };
        self.metrics.seconds.observe(took.as_secs_f64());
        if item.lost {
            self.forget(ticket);
            return;
        }
        match how {
            How::Handled => {
                self.handled += 1;
                self.tell(ticket, watch::Ended::Handled);
                self.settle(ticket, Outcome::Ack);
            }
            How::Failed(failure) => {
                let verdict = failure.verdict();
                self.failed(ticket, Reason::of(verdict), verdict, &failure.to_string());
            }
            How::Panicked(message) => self.broke(ticket, Reason::Panicked, &format!("the handler panicked: {message}")),
            How::TimedOut => {
                self.broke(ticket, Reason::TimedOut, &format!("the handler took longer than {:?}", self.plan.timeout));
            }
            How::Cut if self.phase.is_cut() => self.was_cut(ticket),
            How::Cut => self.broke(ticket, Reason::Panicked, "the handler panicked as it was cancelled"),
        }
    }

    pub(super) fn tell(&self, ticket: Ticket, ended: watch::Ended<'_>) {
        if let Some(watch) = &self.ground.watch
            && let Some(item) = self.hand.get(ticket)
        {
            let message = &item.delivered.message;
            let group = &self.plan.name.group;
            // One that failed is counted already.
            let number = item.failures + u32::from(matches!(ended, watch::Ended::Handled));
            watch.ended(&watch::Attempt { message, group, number, at: self.now(), ended });
        }
    }

    /// A message is over, in this way.
    pub(super) fn settle(&mut self, ticket: Ticket, outcome: Outcome) {
        if let Some(item) = self.hand.end(ticket) {
            self.outcome(item.receipt, outcome);
            self.cells.empty(item.delivered);
        }
    }

    /// A message is no longer ours.
    pub(super) fn forget(&mut self, ticket: Ticket) {
        if let Some(item) = self.hand.end(ticket) {
            self.cells.empty(item.delivered);
        }
    }

    pub(super) fn outcome(&mut self, receipt: Receipt, outcome: Outcome) {
        self.outcomes.push((receipt, outcome));
    }

    /// Hands over the outcomes of this turn.
    pub(super) fn flush(&mut self) {
        if self.handled > 0 {
            self.metrics.handled.inc_by(mem::take(&mut self.handled));
        }
        self.metrics.in_hand.set(i64::try_from(self.hand.len()).unwrap_or(i64::MAX));
        if !self.outcomes.is_empty() {
            let outcomes = mem::take(&mut self.outcomes);
            self.hand.settling(outcomes.len());
            // The settling outlives the loop.
            let _ = self.outlets.outcomes.send(outcomes);
        }
    }
}
