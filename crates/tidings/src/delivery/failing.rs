//! What follows a failed attempt, and how a message is given up or handed back.

use tidings_core::{Delay, Outcome};

use super::{
    attempt,
    burial::Burial,
    hand::{Item, Ticket},
    letter::{self, GivenUp, Reason},
    policy::{self, Next},
    tries::Tried,
    watch,
    work::Work,
};
use crate::handlers::Verdict;

impl Work {
    /// An attempt that ended otherwise than by the handler's word.
    pub(super) fn broke(&mut self, ticket: Ticket, reason: Reason, error: &str) {
        self.failed(ticket, reason, Verdict::Retry, error);
    }

    pub(super) fn failed(&mut self, ticket: Ticket, reason: Reason, verdict: Verdict, error: &str) {
        let now = self.now();
        let draw = self.dice.draw();
        let Some(item) = self.hand.get_mut(ticket) else { return };
        item.failures = item.failures.saturating_add(1);
        item.first_attempt.get_or_insert(item.fetched.wall_at(item.started));
        let message = &item.delivered.message;
        // The message may not say when it happened, or say what is still to come.
        let since = message.time().into_iter().chain(item.first_attempt).min();
        let age = since.and_then(|since| item.fetched.wall_at(now).duration_since(since).ok()).unwrap_or_default();
        let Next::Again(wait) = policy::next(&self.plan.retry, verdict, item.failures, age, draw) else {
            self.give_up(ticket, reason, error);
            return;
        };
        let attempts = item.failures;
        attempt::span_now(&item.delivered, attempts)
            .in_scope(|| tracing::warn!(handler = self.plan.handler_name, error, ?wait, "the attempt failed; another follows"));
        let at_broker = self.plan.waits_at_broker(message.key().is_some(), wait);
        let tried = Tried { failures: attempts, first_attempt: item.first_attempt };
        if at_broker && (!self.plan.capabilities.attempt_counts || self.plan.retry.is_by_age()) {
            self.tries.remember(message, tried);
        }
        self.metrics.retried.inc();
        self.tell(ticket, watch::Ended::Failed { error, wait });
        if at_broker {
            self.settle(ticket, Outcome::Retry { after: wait, attempts });
        } else {
            self.hand.wait(ticket, now + wait);
            if self.phase.is_stopping() && self.plan.keeps_messages() {
                self.hand_back(|_| true);
            }
        }
    }

    /// Ends a message that no attempt will help: its dead letter is stored first.
    pub(super) fn give_up(&mut self, ticket: Ticket, reason: Reason, error: &str) {
        let now = self.now();
        let Some(item) = self.hand.get(ticket) else { return };
        let (message, attempts) = (&item.delivered.message, item.failures);
        // A dead letter that nobody could handle is kept where it is, or each would bring forth the next.
        let kept = self.plan.keeps_messages() && !is_letter(message.topic().as_str());
        attempt::span_now(&item.delivered, attempts).in_scope(|| {
            let (handler, reason) = (self.plan.handler_name, reason.as_str());
            if kept {
                tracing::warn!(handler, reason, error, "the message is given up and goes to the dead letters");
            } else {
                tracing::error!(handler, reason, error, "the message is given up and not kept");
            }
        });
        let letter = kept.then(|| {
            let last_attempt = item.fetched.wall_at(if attempts == 0 { now } else { item.started });
            let given_up = GivenUp {
                reason,
                error,
                attempts,
                first_attempt: item.first_attempt.unwrap_or(last_attempt),
                last_attempt,
                instance: &self.ground.instance,
            };
            letter::letter(message, &self.plan.name, &given_up)
        });
        self.tell(ticket, watch::Ended::GivenUp { error });
        match letter {
            Some(letter) => {
                self.hand.bury(ticket);
                // The burying outlives the loop.
                let _ = self.outlets.burials.send(Burial { ticket, letter });
            }
            None => {
                self.metrics.dead_lettered.inc();
                self.settle(ticket, Outcome::Reject);
            }
        }
    }

    /// A dead letter is stored.
    pub(super) fn buried(&mut self, ticket: Ticket) {
        let Some(item) = self.hand.get(ticket) else { return };
        self.metrics.dead_lettered.inc();
        if item.lost {
            self.forget(ticket);
        } else {
            self.settle(ticket, Outcome::Reject);
        }
    }

    /// A message that kills the process, as far as can be known: it is given up without another attempt.
    pub(super) fn condemn(&mut self, ticket: Ticket) {
        self.give_up(
            ticket,
            Reason::NoOutcome,
            "the message came again and again without an outcome: it probably kills the process",
        );
    }

    /// An attempt was cancelled by the drain.
    pub(super) fn was_cut(&mut self, ticket: Ticket) {
        let Some(item) = self.hand.get(ticket) else { return };
        let attempt = attempt::span_now(&item.delivered, item.failures.saturating_add(1));
        let handler = self.plan.handler_name;
        if self.plan.keeps_messages() {
            attempt
                .in_scope(|| tracing::warn!(handler, "the handler did not end in time for the shutdown: its message goes back"));
            self.settle(ticket, Outcome::HandBack);
        } else {
            attempt
                .in_scope(|| tracing::error!(handler, "the handler did not end in time for the shutdown: its message is lost"));
            self.metrics.dead_lettered.inc();
            self.forget(ticket);
        }
    }

    /// Hands back what has not begun and what waits for another attempt, among the chosen.
    pub(super) fn hand_back(&mut self, chosen: impl Fn(&Item) -> bool) {
        let now = self.now();
        for item in self.hand.end_idle(chosen) {
            let ordered = self.plan.bounds.ordered && item.delivered.message.key().is_some();
            let outcome = match item.due {
                // Where its failures can go with it and no order is broken, they do.
                Some(due) if !ordered && self.plan.capabilities.delay != Delay::None => {
                    Outcome::Retry { after: due.saturating_duration_since(now), attempts: item.failures }
                }
                _ => Outcome::HandBack,
            };
            self.outcome(item.receipt, outcome);
        }
    }

    /// Logs and counts what cannot go back to a broker that keeps nothing.
    pub(super) fn lose(&mut self) {
        for item in self.hand.end_idle(|_| true) {
            let attempt = attempt::span_now(&item.delivered, item.failures);
            attempt.in_scope(|| {
                tracing::error!(handler = self.plan.handler_name, "shut down before the message was handled: it is lost")
            });
            self.metrics.dead_lettered.inc();
        }
    }
}

fn is_letter(topic: &str) -> bool {
    topic.starts_with("dead.")
}
