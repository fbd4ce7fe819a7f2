//! One message in hand, and when it came.

use std::{sync::Arc, time::SystemTime};

use tidings_core::Receipt;
use tokio::{task::AbortHandle, time::Instant};

use crate::{delivery::policy::Suspicion, handlers::Delivered};

/// A time on both clocks.
#[derive(Debug, Clone, Copy)]
pub(in crate::delivery) struct Moment {
    pub(in crate::delivery) at: Instant,
    pub(in crate::delivery) wall: SystemTime,
}

impl Moment {
    /// Now, which is `at` on the clock of deliveries.
    pub(in crate::delivery) fn at(at: Instant) -> Self {
        Self { at, wall: SystemTime::now() }
    }

    /// The same later, by a wall clock that was never set back since this moment.
    pub(in crate::delivery) fn later(&self, at: Instant) -> Self {
        Self { at, wall: SystemTime::now().max(self.wall_at(at)) }
    }

    /// The wall clock's time at `now`, had nobody touched it since this moment.
    pub(in crate::delivery) fn wall_at(&self, now: Instant) -> SystemTime {
        self.wall + now.saturating_duration_since(self.at)
    }
}

/// A message in hand.
#[derive(Debug)]
pub(in crate::delivery) struct Item {
    pub(in crate::delivery) delivered: Arc<Delivered>,
    pub(in crate::delivery) receipt: Receipt,
    pub(in crate::delivery) fetched: Moment,
    /// Attempts that ended in failure, as far as is known.
    pub(in crate::delivery) failures: u32,
    /// When the first attempt began, of those that are known to have failed.
    pub(in crate::delivery) first_attempt: Option<SystemTime>,
    /// Whether it is to run with nothing beside it.
    pub(in crate::delivery) suspicion: Suspicion,
    /// Ends its handler, while one runs as a task.
    pub(in crate::delivery) abort: Option<AbortHandle>,
    /// When its attempt began.
    pub(in crate::delivery) started: Instant,
    /// Another instance has it: nothing is settled.
    pub(in crate::delivery) lost: bool,
    /// When its next attempt begins, while it waits for that.
    pub(in crate::delivery) due: Option<Instant>,
    pub(super) state: State,
    /// Its place among all that arrived.
    pub(super) seq: u64,
    /// Whether it is the head of its key's lane, or queues in it.
    pub(super) laned: bool,
    /// What it counts for in `parked_bytes`, while it is parked.
    pub(super) parked: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Running,
    /// Behind another of its key.
    Queued,
    /// For its next attempt; the number tells this wait from an earlier one.
    Waiting(u64),
    Burying,
}

impl Item {
    pub(in crate::delivery) fn new(delivered: Arc<Delivered>, receipt: Receipt, fetched: Moment, failures: u32) -> Self {
        Self {
            delivered,
            receipt,
            fetched,
            failures,
            first_attempt: None,
            suspicion: Suspicion::None,
            abort: None,
            started: fetched.at,
            lost: false,
            due: None,
            state: State::Ready,
            seq: 0,
            laned: false,
            parked: None,
        }
    }
}
