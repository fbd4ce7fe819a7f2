//! The relay: moves the rows of one service's outbox to the broker, in the order of each key, and deletes what arrived.
//!
//! Nothing is remembered but what is in flight. A sequence number is given before the commit, so "the last one seen" would pass
//! over the rows of transactions that commit late: the relay takes what is there instead, and deletes what the broker has.

mod cursor;
mod lock;
mod notify;
mod pace;
mod plan;
mod send;
#[cfg(test)]
mod simulation;
mod store;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tidings_core::{Broker, Health, Link};
use tokio::{
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::{
    database::Database,
    metrics::OutboxMetrics,
    outbox::{Outbox, Wake},
    readiness::{Part, State},
};
use cursor::Cursor;
use lock::{Held, Lock};
pub(crate) use notify::Notified;
pub(crate) use pace::Hot;
use pace::Pace;
use plan::Plan;
use send::{Sender, Sent};
use store::{Found, MOST_ROWS, Store};

/// Why a relay cannot go on; everything else it waits for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RelayError {
    #[error(
        "the outbox's lock is gone though its connection is not: a pooler in transaction mode stands before Postgres; give the service a session connection"
    )]
    LockGone,
    #[error("lock file {} of the outbox", .path.display())]
    LockFile {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the outbox's database does not answer")]
    Database(#[from] sqlx::Error),
}

/// How often a stand-by tries the lock, and the holder looks whether it is still its own.
const LOCK_PACE: Duration = Duration::from_secs(1);
/// How long what a vanished holder had sent may still be on its way: a broker's publish timeout.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);
/// The most rows of one batch, and the most batches on their way.
const BATCH: usize = 512;
const BATCHES: usize = 8;
/// Waits after trouble with the broker double from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How soon it is noticed that a broker is back.
const HEALTH_PACE: Duration = Duration::from_millis(50);

/// Moves one service's rows to the broker.
pub(crate) struct Relay {
    sender: Sender,
    hot: Hot,
    part: Part,
    wake: Wake,
}

/// Why the active relay ended.
enum End {
    Stopped,
    LockLost(String),
}

impl Relay {
    pub(crate) fn new(database: Database, outbox: &Outbox, broker: Arc<dyn Broker>, metrics: OutboxMetrics, part: Part) -> Self {
        outbox.goes_to(&*broker);
        let store = Store { database, service: outbox.service().to_owned() };
        Self { sender: Sender { broker, store, metrics }, hot: outbox.hot(), part, wake: outbox.wake() }
    }

    /// Relays until `stop`, then sends what is left until nothing is, the broker is away, or `cut`.
    ///
    /// # Errors
    /// When the lock cannot work here. An absent database or broker is waited for.
    pub(crate) async fn run(self, stop: CancellationToken, cut: CancellationToken) -> Result<(), RelayError> {
        loop {
            let waited = tokio::select! {
                lock = self.wait_for_lock() => lock?,
                () = stop.cancelled() => return Ok(()),
            };
            match Active::new(&self, waited).run(&stop, &cut).await? {
                End::Stopped => return Ok(()),
                End::LockLost(why) => {
                    tracing::warn!("the outbox's lock may be another's now, nothing more is sent until it is ours again: {why}");
                    self.part.set(State::Noted(format!("relay stands by: {why}")));
                }
            }
        }
    }

    #[cfg_attr(not(feature = "postgres"), expect(clippy::unused_async, reason = "only Postgres notifies"))]
    async fn listen(&self) -> Notified {
        match &self.sender.store.database {
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) if self.wake == Wake::Notify => {
                match Notified::listen(pool, &self.sender.store.service).await {
                    Ok(listening) => listening,
                    Err(error) => {
                        tracing::warn!("no notifications from Postgres, the outbox is polled: {error}");
                        Notified::Never
                    }
                }
            }
            _ => Notified::Never,
        }
    }

    /// Stands by until the lock is ours.
    async fn wait_for_lock(&self) -> Result<Lock, RelayError> {
        let mut other_had_it = false;
        loop {
            match lock::acquire(&self.sender.store.database, &self.sender.store.service).await {
                Ok(Some(lock)) => {
                    if other_had_it {
                        sleep(PUBLISH_TIMEOUT).await;
                        tracing::info!("took over the outbox from a relay that is gone");
                    }
                    return Ok(lock);
                }
                Ok(None) => {
                    other_had_it = true;
                    self.part.set(State::Noted("another instance relays".to_owned()));
                }
                Err(RelayError::Database(error)) => self.part.set(State::Noted(format!("database does not answer: {error}"))),
                Err(error) => return Err(error),
            }
            sleep(LOCK_PACE).await;
        }
    }
}

/// The relay while it holds the lock.
struct Active<'a> {
    relay: &'a Relay,
    lock: Lock,
    plan: Plan,
    cursor: Cursor,
    pace: Pace,
    sending: JoinSet<Sent>,
    link: Option<Link>,
    /// How long to send nothing after trouble, and until when.
    pause: Duration,
    resume: Instant,
    broker_was_up: bool,
    next_look: Instant,
    next_count: Instant,
}

impl<'a> Active<'a> {
    fn new(relay: &'a Relay, lock: Lock) -> Self {
        let now = Instant::now();
        Self {
            relay,
            lock,
            plan: Plan::default(),
            cursor: Cursor::new(),
            pace: Pace::new(),
            sending: JoinSet::new(),
            link: None,
            pause: Duration::ZERO,
            resume: now,
            broker_was_up: true,
            next_look: now,
            next_count: now,
        }
    }

    async fn run(mut self, stop: &CancellationToken, cut: &CancellationToken) -> Result<End, RelayError> {
        let relay = self.relay;
        let mut check = paced(LOCK_PACE);
        let mut health = paced(HEALTH_PACE);
        let mut notified = relay.listen().await;
        let mut stopping = false;
        loop {
            self.send_ready().await;
            if stopping && self.is_drained() {
                return Ok(End::Stopped);
            }
            let paused = self.is_paused();
            tokio::select! {
                biased;
                () = cut.cancelled() => return Ok(End::Stopped),
                _ = check.tick() => if let Some(lost) = self.check().await? { return Ok(End::LockLost(lost)) },
                Some(sent) = self.sending.join_next() => self.sent(sent),
                () = relay.hot.marked() => self.hurry(),
                () = notified.next() => self.hurry(),
                () = sleep_until(self.next_look), if !paused && self.plan.room() >= MOST_ROWS => self.look().await,
                _ = health.tick(), if paused => self.look_at_broker(),
                () = stop.cancelled(), if !stopping => {
                    stopping = true;
                    // What was committed since the last look is to go too.
                    self.hurry();
                }
            }
        }
    }

    fn is_paused(&self) -> bool {
        Instant::now() < self.resume
    }

    /// Whether a stop need not wait: nothing is on its way, and there is nothing to send or nowhere to send it.
    fn is_drained(&self) -> bool {
        self.sending.is_empty() && (self.is_paused() || (self.plan.is_empty() && self.pace.is_idle()))
    }

    fn hurry(&mut self) {
        self.pace.marked();
        self.next_look = self.next_look.min(Instant::now() + self.pace.wait());
    }

    async fn look(&mut self) {
        let span = self.cursor.next(&self.plan, Instant::now());
        match self.relay.sender.store.look(&span).await {
            Ok(found) => {
                if let Some((last, newest)) = found.more_after {
                    self.cursor.reached(last, newest);
                    self.pace.found_more();
                } else {
                    self.cursor.restart();
                    if found.is_empty() && span.is_from_first() { self.pace.found_none() } else { self.pace.found_all() }
                }
                self.take(found).await;
            }
            Err(error) => {
                tracing::warn!("the outbox cannot be read: {error}");
                self.pace.found_none();
            }
        }
        self.next_look = Instant::now() + self.pace.wait();
    }

    async fn take(&mut self, found: Found) {
        found.rows.into_iter().for_each(|row| self.plan.take(row));
        if let Err(error) = self.relay.sender.store.settle(&[], &found.unreadable).await {
            tracing::warn!("rows of the outbox that are no messages could not be put aside: {error}");
        }
    }

    /// Starts batches with what may go now. Nothing goes while the broker's client is not connected: what waits in the client
    /// goes out whenever it is back, however old, and whoever relays by then.
    async fn send_ready(&mut self) {
        if self.is_paused() {
            return;
        }
        while self.sending.len() < BATCHES {
            let batch = self.plan.batch(BATCH);
            if batch.is_empty() {
                return;
            }
            let up = self.broker_is_up();
            let link = match self.link {
                Some(link) if up => Ok(link),
                _ if up => self.relay.sender.broker.flush().await.map_err(|error| error.to_string()),
                _ => Err("broker is not connected".to_owned()),
            };
            match link {
                Ok(link) => {
                    self.link = Some(link);
                    self.sending.spawn(self.relay.sender.clone().send(batch, link));
                }
                Err(trouble) => {
                    return self.sent(Ok(Sent { gone: Vec::new(), again: batch, link: None, trouble: Some(trouble) }));
                }
            }
        }
    }

    fn sent(&mut self, sent: Result<Sent, tokio::task::JoinError>) {
        let Ok(sent) = sent else {
            // A panic in a broker's client: which rows it had is known to nobody, so all are read again.
            self.sending = JoinSet::new();
            self.plan = Plan::default();
            self.cursor.restart();
            return self.trouble("a publish ended in a panic");
        };
        sent.gone.iter().for_each(|row| self.plan.gone(row));
        if !sent.again.is_empty() {
            sent.again.iter().for_each(|row| self.plan.again(row));
            self.cursor.restart();
        }
        self.link = sent.link;
        match sent.trouble {
            Some(trouble) => self.trouble(&trouble),
            None if !sent.gone.is_empty() => self.pause = Duration::ZERO,
            None => {}
        }
    }

    /// Sends nothing for a while, longer each time, with jitter so that relays do not come back all at once.
    fn trouble(&mut self, why: &str) {
        if self.pause.is_zero() {
            tracing::warn!("events wait in the outbox: {why}");
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        self.resume = Instant::now() + jitter(self.pause);
        self.relay.part.set(State::Noted(format!("events wait: {why}")));
    }

    /// Goes on at once when the client says that it is connected again.
    fn look_at_broker(&mut self) {
        let up = self.broker_is_up();
        if up && !self.broker_was_up {
            self.resume = Instant::now();
        }
        self.broker_was_up = up;
    }

    fn broker_is_up(&self) -> bool {
        !matches!(self.relay.sender.broker.health(), Health::Down(_))
    }

    /// Looks at the lock, and at what waits; answers why the lock may be lost.
    async fn check(&mut self) -> Result<Option<String>, RelayError> {
        if let Held::Unknown(why) = self.lock.look(&self.relay.sender.store.service).await? {
            return Ok(Some(why));
        }
        if Instant::now() >= self.next_count {
            self.count().await;
        }
        Ok(None)
    }

    /// Counts what waits, which takes as long as there is much of it: not more than a twentieth of the time goes into it.
    async fn count(&mut self) {
        let begun = Instant::now();
        if let Ok(backlog) = self.relay.sender.store.backlog().await {
            let metrics = &self.relay.sender.metrics;
            metrics.pending.set(backlog.pending);
            metrics.oldest_seconds.set(backlog.oldest_seconds);
            if self.pause.is_zero() {
                self.relay.part.set(State::Up);
            }
        }
        self.next_count = Instant::now() + begun.elapsed() * 20;
    }
}

fn paced(period: Duration) -> Interval {
    let mut paced = interval(period);
    paced.set_missed_tick_behavior(MissedTickBehavior::Delay);
    paced
}

/// Between half of `longest` and all of it.
fn jitter(longest: Duration) -> Duration {
    let random = f64::from(u32::try_from(uuid::Uuid::new_v4().as_u128() >> 96).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    longest.mul_f64(random.mul_add(0.5, 0.5))
}
