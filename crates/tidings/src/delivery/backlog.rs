//! Whether a subscription has had what waited for it when its service started.
//!
//! No engine tells it. What does: a message that was published later, since what waited comes first; or that nothing comes for
//! longer than any lease, though the broker is there and the subscription has nothing else in hand.

#![cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code, reason = "what only the inbox asks"))]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use tidings_core::Message;
use tokio::time::Instant;

/// How long nothing comes: longer than a lease, for what an instance that died had in hand comes when that ends.
const CALM: Duration = Duration::from_secs(60);

/// What waited for a subscription when its service started. Clones are the same backlog.
#[derive(Debug, Clone)]
pub(crate) struct Backlog {
    began: SystemTime,
    drained: Arc<AtomicBool>,
}

impl Backlog {
    /// That of a subscription which begins now.
    pub(crate) fn begin() -> Self {
        Self { began: SystemTime::now(), drained: Arc::default() }
    }

    /// Whether all of it has come.
    pub(crate) fn is_drained(&self) -> bool {
        self.drained.load(Ordering::Relaxed)
    }

    /// Says that it has.
    pub(crate) fn say_drained(&self) {
        self.drained.store(true, Ordering::Relaxed);
    }
}

/// The loop's look at its backlog, until that is drained.
#[derive(Debug)]
pub(super) struct Watched {
    backlog: Backlog,
    calm_since: Option<Instant>,
}

impl Watched {
    pub(super) fn new(backlog: Backlog) -> Self {
        Self { backlog, calm_since: None }
    }

    /// These came; answers whether the backlog is drained.
    pub(super) fn came<'a>(&mut self, mut messages: impl Iterator<Item = &'a Message>) -> bool {
        self.calm_since = None;
        let later = |message: &Message| message.time().is_some_and(|time| time > self.backlog.began);
        let drained = messages.any(later);
        if drained {
            self.backlog.say_drained();
        }
        drained
    }

    /// Nothing came so far; answers when that shows that the backlog is drained.
    ///
    /// It shows nothing while the subscription is not idle, nor while the broker is away.
    pub(super) fn calm_until(&mut self, now: Instant, idle: bool, broker_is_up: impl FnOnce() -> bool) -> Option<Instant> {
        if !idle {
            self.calm_since = None;
            return None;
        }
        let until = *self.calm_since.get_or_insert(now) + CALM;
        if now < until {
            return Some(until);
        }
        if broker_is_up() {
            self.backlog.say_drained();
            return None;
        }
        self.calm_since = Some(now);
        Some(now + CALM)
    }
}
