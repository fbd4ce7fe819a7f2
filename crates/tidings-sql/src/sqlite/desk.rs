//! Where callers and the task that has the file meet.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tidings_core::{BrokerError, Health};
use tokio::sync::{Notify, mpsc, oneshot};

use super::{
    NAME,
    join::{JoinJob, Leaving},
    publish::PublishJob,
    settle::SettleJob,
};

/// What the task is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Publish(PublishJob),
    Settle(SettleJob),
    Join(JoinJob),
    /// The last one: answered when the file is closed.
    Close(oneshot::Sender<()>),
}

/// The callers' side. The task ends when the last one is dropped.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// What both sides see.
#[derive(Debug)]
pub(super) struct Shared {
    /// Rung when a fetch waits or a member leaves.
    pub(super) bell: Notify,
    pub(super) duplicates: AtomicU64,
    pub(super) expired: AtomicU64,
    closed: AtomicBool,
    leaving: Mutex<Vec<Leaving>>,
    health: Mutex<Health>,
}

/// Commands that may wait; each caller waits for its own.
const QUEUE: usize = 256;

impl Desk {
    pub(super) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            bell: Notify::new(),
            duplicates: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            leaving: Mutex::default(),
            health: Mutex::new(Health::Up),
        });
        (Self { commands, shared }, queue)
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) fn check(&self) -> Result<(), BrokerError> {
        if self.shared.is_closed() { Err(closed()) } else { Ok(()) }
    }

    pub(super) async fn send(&self, command: Command) -> Result<(), BrokerError> {
        self.check()?;
        self.commands.send(command).await.map_err(|_| closed())
    }

    /// Takes nothing more and waits until all that was taken is done. The first to call it waits.
    pub(super) async fn close(&self) {
        let (reply, answer) = oneshot::channel();
        if !self.shared.closed.swap(true, Ordering::AcqRel) && self.commands.send(Command::Close(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }

    pub(super) fn leave(&self, leaving: Leaving) {
        leaving.member.end();
        self.shared.leave_later(leaving);
        self.wake();
    }

    pub(super) fn wake(&self) {
        self.shared.bell.notify_one();
    }
}

impl Shared {
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// At the next turn, whatever that is for.
    pub(super) fn leave_later(&self, leaving: Leaving) {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner).push(leaving);
    }

    pub(super) fn take_leaving(&self) -> Vec<Leaving> {
        std::mem::take(&mut *self.leaving.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn health(&self) -> Health {
        if self.is_closed() {
            return Health::Down("closed".to_owned());
        }
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_health(&self, health: Health) {
        *self.health.lock().unwrap_or_else(PoisonError::into_inner) = health;
    }
}

pub(super) fn closed() -> BrokerError {
    BrokerError::Closed { broker: NAME }
}
