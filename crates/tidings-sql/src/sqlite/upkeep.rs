//! What is done from time to time: dead owners, checkpoints, retention, health.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use sqlx::Executor;
use tidings_core::{Health, url::Size};
use tokio::time::Instant;

use super::{
    engine::Engine,
    join, later,
    owner::{Dead, Owner},
    publish::Totals,
    settle, sweep,
};

/// When to do it again.
#[derive(Debug)]
pub(super) struct Upkeep {
    next: Instant,
    next_sweep: Instant,
    /// Everything up to here was looked at by the sweep.
    swept: i64,
    /// Bytes published since the last time.
    written: i64,
}

const PAUSE: Duration = Duration::from_secs(1);
const SWEEP_PAUSE: Duration = Duration::from_secs(60);
const MUCH: i64 = 16 << 20;
/// From here on the log is written back and cut while nobody writes.
const LONG_WAL: u64 = 64 << 20;

impl Upkeep {
    pub(super) fn new() -> Self {
        // At once: who was here before may be dead.
        let now = Instant::now();
        Self { next: now, next_sweep: now, swept: 0, written: 0 }
    }

    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Much writing asks for the next checkpoint early.
    pub(super) fn wrote(&mut self, bytes: i64) {
        self.written = self.written.saturating_add(bytes);
        if self.written > MUCH {
            self.next = Instant::now();
        }
    }
}

impl Engine {
    pub(super) async fn keep_up(&mut self) {
        self.upkeep.next = Instant::now() + PAUSE;
        self.upkeep.written = 0;
        if let Err(error) = self.try_to_keep_up().await {
            self.failed(error);
        }
    }

    async fn try_to_keep_up(&mut self) -> Result<(), sqlx::Error> {
        let owners: Vec<i64> = sqlx::query_scalar("SELECT id FROM owner ORDER BY id").fetch_all(&mut self.connection).await?;
        if !owners.contains(&self.owner.id) {
            self.come_back().await?;
        }
        let others = owners.iter().filter(|id| **id != self.owner.id);
        let dead: Vec<_> = others.filter_map(|id| Dead::find(&self.settings.path, *id)).collect();
        let first = owners.iter().filter(|id| dead.iter().all(|dead| dead.id != **id)).all(|id| *id >= self.owner.id);
        if !dead.is_empty() {
            self.bury(dead).await?;
        }
        self.put_back_unread().await?;
        // What other processes hold back is ours to publish too: they may be gone by then.
        self.later = later::next(&mut self.connection).await?;
        if !self.synced || self.has_failed {
            // That it can be read says nothing; that this works does.
            self.sync().await?;
            self.worked();
        }
        if first {
            self.sweep().await?;
            self.checkpoint().await?;
        }
        self.look_at_health().await
    }

    /// Frees what dead owners had.
    async fn bury(&mut self, dead: Vec<Dead>) -> Result<(), sqlx::Error> {
        self.begin(true).await?;
        let mut done = Ok(());
        for owner in &dead {
            if done.is_ok() {
                done = join::end_owner(&mut self.connection, owner.id).await;
            }
        }
        self.finish(done).await?;
        for owner in dead {
            tracing::warn!(
                owner = owner.id,
                "a process that had the broker's file open is dead; what it had in hand comes again"
            );
            owner.bury();
        }
        self.heat_all();
        self.bell.ring();
        Ok(())
    }

    /// Others have found us dead: somebody removed our lock file. What was in hand is theirs.
    async fn come_back(&mut self) -> Result<(), sqlx::Error> {
        tracing::warn!(owner = self.owner.id, "the lock file beside the broker's file was removed; what was in hand comes again");
        self.begin(true).await?;
        let done = self.register_again().await;
        let owner = self.finish(done).await?;
        std::mem::replace(&mut self.owner, owner).end();
        for member in self.lines.iter().flat_map(|line| &line.members) {
            member.lose_all();
        }
        self.heat_all();
        Ok(())
    }

    /// Numbers are never used twice, so that members can come back under their own.
    async fn register_again(&mut self) -> Result<Owner, sqlx::Error> {
        let owner = Owner::register(&mut self.connection, &self.settings.path, &self.client).await?;
        for line in &self.lines {
            for member in &line.members {
                join::come_back(&mut self.connection, owner.id, member.id, line).await?;
            }
        }
        Ok(owner)
    }

    /// What was claimed for a fetch that was given up, and that nobody has asked for since.
    async fn put_back_unread(&mut self) -> Result<(), sqlx::Error> {
        let unread: Vec<_> = self
            .lines
            .iter()
            .flat_map(|line| &line.members)
            .map(|member| (Arc::clone(member), member.unread()))
            .filter(|(_, receipts)| !receipts.is_empty())
            .collect();
        if unread.is_empty() {
            return Ok(());
        }
        self.begin(false).await?;
        let mut done = Ok(());
        for (member, receipts) in &unread {
            if done.is_ok() {
                done = settle::put_back(&mut self.connection, member, receipts).await;
            }
        }
        self.finish(done).await?;
        for (member, _) in unread {
            self.heat(member.line);
        }
        self.bell.ring();
        Ok(())
    }

    /// Brings to the disk what was committed without waiting for it.
    async fn sync(&mut self) -> Result<(), sqlx::Error> {
        self.begin(true).await?;
        // A commit that writes nothing syncs nothing.
        let done = self.connection.execute("UPDATE broker SET synced = synced + 1").await.map(drop);
        self.finish(done).await
    }

    async fn sweep(&mut self) -> Result<(), sqlx::Error> {
        if Instant::now() < self.upkeep.next_sweep {
            return Ok(());
        }
        let before = super::now().saturating_sub(i64::try_from(self.settings.max_age.as_millis()).unwrap_or(i64::MAX));
        let Some(old) = sweep::find(&mut self.connection, self.upkeep.swept, before).await? else {
            self.upkeep.next_sweep = Instant::now() + self.settings.max_age.min(SWEEP_PAUSE);
            return Ok(());
        };
        self.begin(true).await?;
        let done = sweep::delete(&mut self.connection, &old).await;
        let expired = self.finish(done).await?;
        self.upkeep.swept = old.last;
        self.shared.expired.fetch_add(expired, Ordering::Relaxed);
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<(), sqlx::Error> {
        let mut log = self.settings.path.clone().into_os_string();
        log.push("-wal");
        let length = std::fs::metadata(log).map_or(0, |log| log.len());
        if length <= LONG_WAL {
            return self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").await.map(drop);
        }
        self.pen.take().await?;
        let done = self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
        self.pen.give();
        done.map(drop)
    }

    async fn look_at_health(&mut self) -> Result<(), sqlx::Error> {
        let totals = Totals::read(&mut self.connection).await?;
        let nearly = |kept: i64, limit: u64| kept.cast_unsigned() >= limit / 5 * 4;
        let file = self.settings.path.display();
        let said = [
            (totals.bytes, self.settings.max_bytes, "max_bytes: publishing is refused when it is full"),
            (totals.letters, self.settings.letters_max_bytes, "letters_max_bytes of dead letters: drop some"),
        ]
        .into_iter()
        .find(|(kept, limit, _)| nearly(*kept, *limit))
        .map(|(kept, limit, what)| format!("{file} keeps {} bytes of {} {what}", kept, Size(limit)));
        if let (Health::Up, Some(said)) = (self.shared.health(), &said) {
            tracing::warn!("{said}");
        }
        self.shared.set_health(said.map_or(Health::Up, Health::Warning));
        Ok(())
    }
}
