//! The loop: waits for deliveries and news, and leads a subscription through its drain.

use std::{collections::HashSet, future::pending, pin::pin, sync::atomic::Ordering, time::Duration};

use tidings_core::{BrokerError, Fetch, Fetched, Outcome, Receipt};
use tokio::{
    sync::{mpsc::UnboundedReceiver, watch},
    task::{coop::consume_budget, yield_now},
    time::{Instant, sleep_until},
};

use super::{Alone, Drain, Event, work::Work};
use crate::handlers::Pause;

/// How far a subscription is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Nothing more is fetched; what runs is finished.
    Stopping,
    /// What runs is cancelled, and waited for until then.
    Cut(Instant),
}

impl Phase {
    pub(super) fn is_stopping(self) -> bool {
        self != Self::Open
    }

    pub(super) fn is_cut(self) -> bool {
        matches!(self, Self::Cut(_))
    }
}

/// How long cancelled handlers are waited for: one that computes cannot be cancelled.
const CUT_GRACE: Duration = Duration::from_secs(1);
/// Waits between fetches that fail.
const BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);
/// Never, as a time.
const FAR: Duration = Duration::from_secs(1 << 30);

/// What a fetch that failed is followed by.
struct Fetching {
    not_before: Option<Instant>,
    wait: Duration,
    ended: Option<BrokerError>,
}

impl Work {
    /// Works until it is drained.
    pub(super) async fn run(
        mut self,
        fetch: &mut dyn Fetch,
        mut news: UnboundedReceiver<Event>,
        drain: &Drain,
    ) -> Result<(), BrokerError> {
        const EVENTS: usize = 256;
        let mut events = Vec::with_capacity(EVENTS);
        let mut fetching = Fetching { not_before: None, wait: BACK_OFF, ended: None };
        let mut stop = pin!(drain.stop.cancelled());
        let mut cut = pin!(drain.cut.cancelled());
        let mut alarm = pin!(sleep_until(Instant::now() + FAR));
        let mut seat = self.ground.clock.seat();
        let mut pause = self.plan.pause.as_ref().map(Pause::changes);
        while !self.is_over() {
            consume_budget().await;
            let room = self.wanted();
            let fetched = {
                let mut next = pin!(fetching.next(fetch, room));
                loop {
                    let more = self.start();
                    self.flush();
                    let rings = self.alarm();
                    if self.is_over() || self.wants_another(room) {
                        break None;
                    }
                    let on_machine = rings.map(|rings| self.ground.clock.on_machine(rings));
                    if let Some(rings) = on_machine.filter(|rings| *rings != alarm.deadline()) {
                        alarm.as_mut().reset(rings);
                    }
                    if seat.is_movable() {
                        seat.say(self.hand.running() > 0 || more, self.hand.next_due());
                    }
                    tokio::select! {
                        biased;
                        _ = news.recv_many(&mut events, EVENTS) => self.hear(&mut events),
                        () = &mut stop, if self.phase == Phase::Open => self.stop(),
                        () = &mut cut, if !self.phase.is_cut() => self.cut(),
                        () = changed(&mut pause), if pause.is_some() => self.say_whether_paused(),
                        () = seat.moved(), if seat.is_movable() => {}
                        () = &mut alarm, if rings.is_some() => self.hand.wake(self.now()),
                        fetched = &mut next => break Some(fetched),
                        () = yield_now(), if more => {}
                    }
                }
            };
            match fetched {
                Some(Ok(fetched)) => {
                    fetching.wait = BACK_OFF;
                    self.receive(fetched);
                }
                Some(Err(error)) => {
                    self.nothing_can_come();
                    fetching.failed(error);
                }
                None => {}
            }
            if fetching.ended.is_some() && self.phase == Phase::Open {
                self.stop();
            }
            // Before room is counted: what is not settled takes some.
            self.flush();
        }
        self.flush();
        if !self.hand.is_empty() {
            self.name_the_hung();
            drain.hung.store(true, Ordering::Relaxed);
        }
        fetching.ended.map_or(Ok(()), Err)
    }

    /// How much to fetch.
    fn wanted(&mut self) -> usize {
        let blocked = self.hand.is_blocked();
        if self.metrics.blocked_by_key.set(i64::from(blocked)) != i64::from(blocked) {
            let (group, pattern) = (&self.plan.name.group, &self.plan.name.pattern);
            match (blocked, self.hand.longest_lane()) {
                (false, _) => tracing::info!(%group, %pattern, "fetching again"),
                (true, Some(key)) => {
                    tracing::warn!(%group, %pattern, %key, "too much waits behind failing messages, most of it behind this key: nothing is fetched")
                }
                (true, None) => {
                    tracing::warn!(%group, %pattern, "too many messages wait for another attempt: nothing is fetched")
                }
            }
        }
        if self.phase == Phase::Open && !self.is_paused() { self.hand.room() } else { 0 }
    }

    fn is_paused(&self) -> bool {
        self.plan.pause.as_ref().is_some_and(Pause::is_paused)
    }

    fn say_whether_paused(&self) {
        let (group, pattern) = (&self.plan.name.group, &self.plan.name.pattern);
        tracing::info!(%group, %pattern, "{}", if self.is_paused() { "paused" } else { "goes on" });
    }

    /// Whether the fetch under way is the wrong one by now.
    fn wants_another(&self, room: usize) -> bool {
        match self.phase {
            Phase::Open if self.is_paused() => room > 0,
            Phase::Open => room == 0 && self.hand.room() > 0,
            _ => room > 0,
        }
    }

    fn is_over(&self) -> bool {
        match self.phase {
            Phase::Open => false,
            Phase::Stopping => self.hand.is_empty(),
            Phase::Cut(until) => self.hand.is_empty() || self.now() >= until,
        }
    }

    /// When to look again although nothing was heard.
    fn alarm(&mut self) -> Option<Instant> {
        let now = self.now();
        let gate = self.gated.then(|| now + Alone::LOOK_AGAIN);
        let cut = if let Phase::Cut(until) = self.phase { Some(until) } else { None };
        let calm = self.look_at_backlog(now, self.phase == Phase::Open && !self.is_paused());
        [self.hand.next_due(), self.hand.park_behind_slow(now), gate, cut, calm].into_iter().flatten().min()
    }

    fn receive(&mut self, fetched: Fetched) {
        match fetched {
            Fetched::Deliveries(deliveries) => self.take_in(deliveries),
            Fetched::Leaving(receipts) => {
                let leaving: HashSet<Receipt> = receipts.into_iter().collect();
                tracing::debug!(count = leaving.len(), "another instance is about to take messages over");
                self.hand_back(|item| leaving.contains(&item.receipt));
            }
            Fetched::Lost(receipts) => self.lost(receipts),
        }
    }

    fn hear(&mut self, events: &mut Vec<Event>) {
        let now = self.now();
        for event in events.drain(..) {
            match event {
                Event::Ended(ended) => self.task_ended(ended, now),
                Event::Settled(count) => self.hand.settled(count),
                Event::Buried(tickets) => tickets.into_iter().for_each(|ticket| self.buried(ticket)),
                Event::Lost(receipts) => self.lost(receipts),
            }
        }
    }

    /// Others have these: their handlers are cancelled, and nothing is settled.
    fn lost(&mut self, receipts: Vec<Receipt>) {
        let lost: HashSet<Receipt> = receipts.into_iter().collect();
        tracing::warn!(
            group = %self.plan.name.group, pattern = %self.plan.name.pattern, count = lost.len(),
            "messages were lost to the broker while in hand: they come again",
        );
        self.outlets.held.release(lost.iter().copied());
        drop(self.hand.end_idle(|item| lost.contains(&item.receipt)));
        for item in self.hand.iter_mut().filter(|item| lost.contains(&item.receipt)) {
            item.lost = true;
            if let Some(abort) = &item.abort {
                abort.abort();
            }
        }
    }

    fn stop(&mut self) {
        self.phase = Phase::Stopping;
        // An engine that keeps nothing takes nothing back: what came is handled while there is time.
        if self.plan.keeps_messages() {
            self.hand_back(|_| true);
        }
    }

    fn cut(&mut self) {
        self.phase = Phase::Cut(self.now() + CUT_GRACE);
        if self.plan.keeps_messages() {
            self.hand_back(|_| true);
        } else {
            self.lose();
        }
        let unburied: Vec<_> = self.hand.burying().collect();
        for ticket in unburied {
            // The letter, should it be stored after all, is recognised when it comes a second time.
            self.settle(ticket, Outcome::HandBack);
        }
        for item in self.hand.iter() {
            if let Some(abort) = &item.abort {
                abort.abort();
            }
        }
    }

    /// Says which handlers cannot be cancelled; their messages come again.
    fn name_the_hung(&self) {
        for item in self.hand.iter() {
            super::attempt::span_now(&item.delivered, item.failures.saturating_add(1)).in_scope(|| {
                tracing::error!(
                    handler = self.plan.handler_name,
                    "the handler hangs and cannot be cancelled; its message comes again"
                );
            });
        }
    }
}

/// Waits until a switch is turned; its other end is in the plan.
async fn changed(switch: &mut Option<watch::Receiver<bool>>) {
    if let Some(switch) = switch {
        let _ = switch.changed().await;
    }
}

impl Fetching {
    /// The next fetch, not before its time.
    async fn next(&mut self, fetch: &mut dyn Fetch, room: usize) -> Result<Fetched, BrokerError> {
        if self.ended.is_some() {
            return pending().await;
        }
        if let Some(time) = self.not_before {
            sleep_until(time).await;
            self.not_before = None;
        }
        fetch.fetch(room).await
    }

    fn failed(&mut self, error: BrokerError) {
        let said = crate::error::chain(&error);
        if error.is_transient() {
            tracing::warn!(error = said, wait = ?self.wait, "fetching failed; trying again");
            self.not_before = Some(Instant::now() + self.wait);
            self.wait = (self.wait * 2).min(LONGEST_BACK_OFF);
        } else {
            tracing::error!(error = said, "the broker ended the subscription");
            self.ended = Some(error);
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.hand.iter().filter_map(|item| item.abort.as_ref()).for_each(tokio::task::AbortHandle::abort);
    }
}
