//! One transaction: what gathered, in an order that lets the one serve the other.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    vec::Drain,
};

use sqlx::Executor;
use tokio::{sync::oneshot, time::Instant};

use super::{
    claim::{self, Claims},
    consume::Fetcher,
    desk::Command,
    engine::Engine,
    join::{self, JoinJob, Leaving},
    later,
    line::Line,
    member::Member,
    publish::{self, PublishJob, Published},
    settle::{self, SettleJob},
};
use crate::error::not_published;

/// What gathered.
#[derive(Debug, Default)]
pub(super) struct Turn {
    leaves: Vec<Leaving>,
    joins: Vec<JoinJob>,
    settles: Vec<SettleJob>,
    publishes: Vec<PublishJob>,
    close: Option<oneshot::Sender<()>>,
}

/// What the transaction did; it counts once it is committed.
#[derive(Debug, Default)]
struct Done {
    joined: VecDeque<Member>,
    published: Published,
    claims: Vec<(i64, Claims)>,
    /// When the next message that is held back is due, where that was looked up.
    later: Option<Option<i64>>,
    /// Others have something to look at.
    news: bool,
}

impl Turn {
    pub(super) fn of(commands: Drain<'_, Command>, leaves: Vec<Leaving>) -> Self {
        let mut turn = Self { leaves, ..Self::default() };
        turn.add(commands);
        turn
    }

    pub(super) fn add(&mut self, commands: Drain<'_, Command>) {
        for command in commands {
            match command {
                Command::Publish(job) => self.publishes.push(job),
                Command::Settle(job) => self.settles.push(job),
                Command::Join(job) => self.joins.push(job),
                Command::Close(reply) => self.close = Some(reply),
            }
        }
    }

    pub(super) fn closes(&self) -> bool {
        self.close.is_some()
    }

    pub(super) fn take_close(&mut self) -> Option<oneshot::Sender<()>> {
        self.close.take()
    }

    fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.joins.is_empty() && self.settles.is_empty() && self.publishes.is_empty()
    }

    /// Whether somebody relies on it after a loss of power: not those who claim or settle, since what they did comes again.
    fn must_be_synced(&self) -> bool {
        !(self.publishes.is_empty() && self.joins.is_empty() && self.leaves.is_empty())
    }
}

impl Engine {
    pub(super) async fn take_turn(&mut self, turn: Turn) {
        if turn.is_empty() && !self.has_work().await {
            return;
        }
        let now = super::now();
        let done = match self.begin(turn.must_be_synced()).await {
            Ok(()) => {
                let done = self.steps(&turn, now).await;
                self.finish(done).await
            }
            Err(error) => Err(error),
        };
        match done {
            Ok(done) => self.tell(turn, done),
            Err(error) => self.tell_failure(turn, error),
        }
    }

    /// Whether there is anything to claim: asked first, so that nobody takes the file's one writing place for nothing.
    async fn has_work(&mut self) -> bool {
        if Instant::now() < self.not_before {
            return false;
        }
        let (mut work, now) = (false, super::now());
        if self.holds_due(now) {
            // Somebody else may have been first.
            match later::next(&mut self.connection).await {
                Ok(next) => self.later = next,
                Err(_) => work = true,
            }
            work |= self.holds_due(now);
        }
        for line in &mut self.lines {
            if !line.is_wanted() || !(line.seen.hot || line.seen.due.is_some_and(|due| due <= now)) {
                continue;
            }
            match line.look(&mut self.connection, now).await {
                Ok(look) if look.is_empty() => line.seen = look.seen(look.to),
                Ok(_) => work = true,
                // It shows again in the transaction, where it is told.
                Err(_) => work = true,
            }
        }
        work
    }

    async fn steps(&mut self, turn: &Turn, now: i64) -> Result<Done, sqlx::Error> {
        let mut done = Done { news: !turn.leaves.is_empty(), ..Done::default() };
        for Leaving { member, .. } in &turn.leaves {
            join::leave(&mut self.connection, member.id, member.line).await?;
            self.heat(member.line);
        }
        for job in &turn.joins {
            done.joined.push_back(join::join(&mut self.connection, self.owner.id, &job.subscription).await?);
        }
        for job in &turn.settles {
            if settle::settle(&mut self.connection, job).await? {
                done.news = true;
                self.heat(job.member.line);
            }
        }
        if !turn.publishes.is_empty() {
            done.published = publish::store(&mut self.connection, &mut self.topics, &self.settings, &turn.publishes).await?;
            done.news = true;
            for line in &mut self.lines {
                line.heat_for(&done.published.topics);
            }
        }
        if done.published.later || self.holds_due(now) {
            let released = later::release(&mut self.connection, &mut self.topics, now).await?;
            done.later = Some(later::next(&mut self.connection).await?);
            done.news |= !released.is_empty();
            for line in &mut self.lines {
                line.heat_for(&released);
            }
        }
        for line in self.lines.iter().filter(|line| line.is_wanted()) {
            if line.seen.hot || line.seen.due.is_some_and(|due| due <= now) {
                let look = line.look(&mut self.connection, now).await?;
                let claims = claim::claim(&mut self.connection, &mut self.topics, line, look).await?;
                done.news |= claims.elsewhere;
                done.claims.push((line.id, claims));
            }
        }
        Ok(done)
    }

    fn holds_due(&self, now: i64) -> bool {
        self.later.is_some_and(|due| due <= now)
    }

    pub(super) fn heat(&mut self, line: i64) {
        self.lines.iter_mut().filter(|there| there.id == line).for_each(Line::heat);
    }

    /// Begins a transaction that writes; [`Engine::finish`] ends it.
    pub(super) async fn begin(&mut self, synced: bool) -> Result<(), sqlx::Error> {
        self.pen.take().await?;
        let begun = self.begin_alone(synced).await;
        if begun.is_err() {
            self.pen.give();
        }
        begun
    }

    async fn begin_alone(&mut self, synced: bool) -> Result<(), sqlx::Error> {
        if self.syncs != synced {
            // FULL syncs the whole log, with what was committed before it.
            let sync = if synced { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
            self.connection.execute(sync).await?;
            self.syncs = synced;
        }
        self.connection.execute("BEGIN IMMEDIATE").await.map(drop)
    }

    /// Commits, or rolls back: a failed transaction leaves nothing.
    pub(super) async fn finish<T>(&mut self, done: Result<T, sqlx::Error>) -> Result<T, sqlx::Error> {
        let done = match done {
            Ok(done) => self.connection.execute("COMMIT").await.map(|_| done),
            Err(error) => Err(error),
        };
        if done.is_ok() {
            self.synced = self.syncs;
        } else {
            // SQLite has rolled back by itself after some errors, and says so then.
            let _ = self.connection.execute("ROLLBACK").await;
            self.topics.clear();
        }
        self.pen.give();
        done
    }

    fn tell(&mut self, turn: Turn, done: Done) {
        let Done { mut joined, published, claims, later, news } = done;
        self.later = later.unwrap_or(self.later);
        self.shared.duplicates.fetch_add(published.duplicates, Ordering::Relaxed);
        self.upkeep.wrote(published.bytes);
        for (id, claims) in claims {
            if let Some(line) = self.lines.iter_mut().find(|line| line.id == id) {
                line.seen = claims.seen;
            }
            for (member, deliveries) in claims.taken {
                member.deliver(deliveries);
            }
        }
        for Leaving { member, reply } in turn.leaves {
            self.forget(&member);
            if let Some(reply) = reply {
                answer(reply, Ok(()));
            }
        }
        for job in turn.joins {
            if let Some(member) = joined.pop_front() {
                self.seat(job, Arc::new(member));
            }
        }
        for job in turn.settles {
            job.member.settled(job.outcomes.iter().map(|(receipt, _)| *receipt));
            answer(job.reply, Ok(()));
        }
        for (job, failed) in turn.publishes.into_iter().zip(published.failed) {
            answer(job.reply, failed);
        }
        if news {
            self.bell.ring();
        }
        self.worked();
    }

    /// Nothing was done: everybody may try again. Who leaves does so at the next turn.
    fn tell_failure(&mut self, turn: Turn, error: sqlx::Error) {
        let error = self.failed(error);
        for job in turn.publishes {
            let failed = job.messages.iter().map(|(place, _)| (*place, not_published(Arc::clone(&error))));
            answer(job.reply, failed.collect());
        }
        for job in turn.settles {
            answer(job.reply, Err(error.to_broker_error()));
        }
        for job in turn.joins {
            answer(job.reply, Err(error.to_broker_error()));
        }
        for Leaving { member, reply } in turn.leaves {
            if let Some(reply) = reply {
                answer(reply, Err(error.to_broker_error()));
            }
            self.shared.leave_later(Leaving { member, reply: None });
        }
    }

    /// A member takes its place, unless its caller has gone: then it leaves again.
    fn seat(&mut self, job: JoinJob, member: Arc<Member>) {
        let place = self.lines.iter().position(|line| line.id == member.line).unwrap_or_else(|| {
            self.lines.push(Line::new(member.line, job.subscription));
            self.lines.len() - 1
        });
        if let Some(line) = self.lines.get_mut(place) {
            line.members.push(Arc::clone(&member));
            line.heat();
        }
        answer(job.reply, Ok(Fetcher { desk: job.desk, member }));
    }

    fn forget(&mut self, member: &Arc<Member>) {
        for line in &mut self.lines {
            line.members.retain(|there| !Arc::ptr_eq(there, member));
        }
        self.lines.retain(|line| !line.members.is_empty());
    }
}

/// A caller that has gone needs no answer.
fn answer<T>(reply: oneshot::Sender<T>, with: T) {
    let _ = reply.send(with);
}
