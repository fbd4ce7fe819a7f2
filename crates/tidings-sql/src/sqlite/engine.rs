//! The task that has the file: one connection, and one transaction at a time for whatever has gathered meanwhile.
//!
//! Here: waiting for work. What a transaction does is in `turn`; what is done from time to time in `upkeep`.

use std::{sync::Arc, time::Duration};

use sqlx::{Connection, SqliteConnection};
use tidings_core::{BrokerError, Client, Health};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    bell::Bell,
    desk::{Command, Desk, Shared},
    join,
    line::Line,
    open,
    owner::Owner,
    pen::Pen,
    topics::Topics,
    turn::Turn,
    upkeep::Upkeep,
};
use crate::{error::StoreError, settings::Settings};

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) connection: SqliteConnection,
    pub(super) settings: Arc<Settings>,
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
    pub(super) pen: Pen,
    pub(super) owner: Owner,
    pub(super) topics: Topics,
    pub(super) lines: Vec<Line>,
    pub(super) bell: Bell,
    pub(super) upkeep: Upkeep,
    /// When the next message that is held back is due, as far as is known here.
    pub(super) later: Option<i64>,
    /// Whether what was committed is on the disk, and whether the next commit will be.
    pub(super) synced: bool,
    pub(super) syncs: bool,
    /// Nobody claims before then: the file could not be written.
    pub(super) not_before: Instant,
    pub(super) has_failed: bool,
    poll: Poll,
}

/// When to look for what other processes wrote.
#[derive(Debug)]
struct Poll {
    next: Instant,
    pause: Duration,
    /// SQLite's count of changes by others.
    version: i64,
}

impl Poll {
    /// The first pause between two looks; it doubles while nothing is found.
    const FIRST: Duration = Duration::from_millis(20);

    fn new() -> Self {
        Self { next: Instant::now() + Self::FIRST, pause: Self::FIRST, version: 0 }
    }
}

/// Commands that one transaction takes.
const GATHERED: usize = 256;

impl Engine {
    /// Opens the file and starts the task, which ends with the last desk.
    pub(super) async fn start(settings: Arc<Settings>, client: Client) -> Result<Desk, BrokerError> {
        let mut connection = open::open(&settings.path).await?;
        let fail = |source| StoreError::of(&settings.path, source).into_broker_error();
        let mut pen = Pen::of(&settings.path).map_err(|error| fail(error.into()))?;
        pen.take().await.map_err(fail)?;
        let registered = Owner::register_alone(&mut connection, &settings.path, &client).await;
        pen.give();
        let owner = registered.map_err(fail)?;
        let (desk, commands) = Desk::new();
        let engine = Self {
            connection,
            bell: Bell::of(&settings.path),
            settings,
            client,
            shared: Arc::clone(desk.shared()),
            pen,
            owner,
            topics: Topics::default(),
            lines: Vec::new(),
            upkeep: Upkeep::new(),
            later: None,
            synced: true,
            syncs: true,
            not_before: Instant::now(),
            has_failed: false,
            poll: Poll::new(),
        };
        tokio::spawn(engine.run(commands));
        Ok(desk)
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let shared = Arc::clone(&self.shared);
        let mut gathered = Vec::with_capacity(GATHERED);
        loop {
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                count = commands.recv_many(&mut gathered, GATHERED) => if count == 0 { break },
                () = shared.bell.notified() => {}
                () = self.bell.rung() => {}
                () = sleep_until(wake_at) => {}
            }
            if self.bell.has_news() {
                self.heat_all();
            }
            let mut turn = Turn::of(gathered.drain(..), shared.take_leaving());
            if turn.closes() {
                commands.close();
                while commands.recv_many(&mut gathered, GATHERED).await > 0 {
                    turn.add(gathered.drain(..));
                }
            }
            let close = turn.take_close();
            self.take_turn(turn).await;
            if let Some(close) = close {
                self.end().await;
                // Whoever waited may be gone.
                let _ = close.send(());
                return;
            }
            self.look_after().await;
        }
        self.end().await;
    }

    /// When to look again by oneself.
    fn wake_at(&self) -> Instant {
        let mut at = self.upkeep.next();
        if !self.lines.is_empty() {
            at = at.min(self.poll.next);
        }
        let now = super::now();
        let after = |wait: i64| (Instant::now() + Duration::from_millis(wait.max(0).cast_unsigned())).max(self.not_before);
        if let Some(due) = self.later {
            at = at.min(after(due.saturating_sub(now)));
        }
        for line in self.lines.iter().filter(|line| line.is_wanted()) {
            let wait = if line.seen.hot { Some(0) } else { line.seen.due.map(|due| due.saturating_sub(now)) };
            if let Some(wait) = wait {
                at = at.min(after(wait));
            }
        }
        at
    }

    /// What is due by time: looking for others' writes, and upkeep.
    async fn look_after(&mut self) {
        let now = Instant::now();
        if !self.lines.is_empty() && now >= self.poll.next {
            match sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut self.connection).await {
                Ok(version) if version == self.poll.version => self.poll.pause = (self.poll.pause * 2).min(self.settings.poll),
                Ok(version) => {
                    self.poll.version = version;
                    self.poll.pause = Poll::FIRST;
                    self.heat_all();
                }
                Err(error) => drop(self.failed(error)),
            }
            self.poll.next = now + self.poll.pause;
        }
        if now >= self.upkeep.next() {
            self.keep_up().await;
        }
    }

    pub(super) fn heat_all(&mut self) {
        self.lines.iter_mut().for_each(Line::heat);
    }

    async fn end_owner(&mut self) -> Result<(), sqlx::Error> {
        self.begin(true).await?;
        let done = join::end_owner(&mut self.connection, self.owner.id).await;
        self.finish(done).await
    }

    /// A transaction was committed.
    pub(super) fn worked(&mut self) {
        self.not_before = Instant::now();
        if std::mem::take(&mut self.has_failed) {
            tracing::info!(file = %self.settings.path.display(), "the broker's file can be written again");
            self.shared.set_health(Health::Up);
        }
    }

    /// Something failed: said once, until something works.
    pub(super) fn failed(&mut self, error: sqlx::Error) -> Arc<StoreError> {
        /// How long those who claim leave the file alone.
        const PAUSE: Duration = Duration::from_millis(200);
        let error = Arc::new(StoreError::of(&self.settings.path, error));
        self.not_before = Instant::now() + PAUSE;
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(
                error = &*error as &dyn std::error::Error,
                "the broker's file failed; what is not done is tried again"
            );
        }
        self.shared.set_health(Health::Down(error.with_source()));
        error
    }

    /// Ends members and owner, and closes the file.
    async fn end(mut self) {
        for member in self.lines.iter().flat_map(|line| &line.members) {
            member.end();
        }
        match self.end_owner().await {
            Ok(()) => self.owner.end(),
            // The next one to look finds the lock free.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the broker's file was closed without a word to others");
            }
        }
        self.bell.ring();
        if let Err(error) = self.connection.close().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the broker's file did not close");
        }
    }
}
