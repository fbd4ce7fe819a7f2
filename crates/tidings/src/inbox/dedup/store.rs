//! The records of [`Dedup`](super::Dedup): started, and done.

use std::{
    collections::HashSet,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::runtime::Handle;

use crate::{
    database::{Database, DatabaseError, Migrations},
    handlers::Context,
};

pub(super) const MIGRATIONS: Migrations = Migrations {
    component: "dedup",
    sqlite: &[include_str!("sqlite.sql"), include_str!("forget.sql")],
    postgres: &[include_str!("postgres.sql"), include_str!("forget.sql")],
};

/// Most records that are remembered because they could not be written.
const MOST_UNWRITTEN: usize = 4_096;
/// How often old records are looked for.
const SWEEP: Duration = Duration::from_secs(3600);
/// The most that one statement removes, so that it keeps nobody waiting.
const BATCH: i64 = 1_000;
/// What is kept for longer is kept for so long: the sum with the time of day is a number yet.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The statements, for a database that says the time like this: instances' own clocks differ.
macro_rules! statements {
    ($now:literal) => {
        Statements {
            claim: concat!(
                "INSERT INTO tidings_dedup (scope, key, claimant, started_at) VALUES ($1, $2, $3, ",
                $now,
                ")
                ON CONFLICT (scope, key) DO UPDATE SET claimant = excluded.claimant, started_at = excluded.started_at
                WHERE tidings_dedup.done_at IS NULL
                AND (tidings_dedup.claimant = excluded.claimant OR tidings_dedup.started_at <= excluded.started_at - $4)
                RETURNING 1"
            ),
            look: concat!(
                "SELECT done_at IS NOT NULL, started_at + $3 - ",
                $now,
                " FROM tidings_dedup WHERE scope = $1 AND key = $2"
            ),
            done: concat!(
                "INSERT INTO tidings_dedup (scope, key, claimant, started_at, done_at, forget_at) VALUES ($1, $2, $3, ",
                $now,
                ", ",
                $now,
                ", ",
                $now,
                " + $4)
                ON CONFLICT (scope, key) DO UPDATE SET done_at = excluded.done_at, forget_at = excluded.forget_at"
            ),
            give_up: "DELETE FROM tidings_dedup WHERE scope = $1 AND key = $2 AND claimant = $3 AND done_at IS NULL",
            forget: concat!(
                "DELETE FROM tidings_dedup WHERE (scope, key) IN (SELECT scope, key FROM tidings_dedup WHERE forget_at <= ",
                $now,
                " LIMIT $1)"
            ),
        }
    };
}

struct Statements {
    claim: &'static str,
    look: &'static str,
    done: &'static str,
    give_up: &'static str,
    forget: &'static str,
}

#[cfg(feature = "sqlite")]
const SQLITE: Statements = statements!("CAST(unixepoch('subsec') * 1000000 AS INTEGER)");
#[cfg(feature = "postgres")]
const POSTGRES: Statements = statements!("(extract(epoch FROM clock_timestamp()) * 1000000)::bigint");

/// What is to be done once.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    scope: String,
    key: String,
    /// Who does it: a message in this process. Its next attempt may go on at once, for the one before has ended.
    claimant: String,
    /// How long it takes at most.
    expiry: Duration,
}

/// What there was of it.
pub(super) enum Claimed {
    /// Nothing, or nothing that still counts.
    Ours(Ours),
    Done,
    /// Another one has started, and must have ended after this time.
    Another(Duration),
}

impl Claim {
    pub(super) fn new(scope: String, key: String, context: &Context) -> Self {
        static PROCESS: LazyLock<uuid::Uuid> = LazyLock::new(uuid::Uuid::new_v4);
        let claimant = format!("{} {}", *PROCESS, context.message().dedup_id());
        Self { scope, key, claimant, expiry: context.timeout() }
    }

    #[cfg(test)]
    pub(super) fn for_tests(scope: String, key: &str, claimant: &str, expiry: Duration) -> Self {
        Self { scope, key: key.to_owned(), claimant: claimant.to_owned(), expiry }
    }

    fn expiry(&self) -> i64 {
        in_micros(self.expiry)
    }
}

fn in_micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// The table in a database.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    keep: Option<Duration>,
    swept: Mutex<Instant>,
    /// Done, but the record could not be written. Without it a full disk, which stops writing but not reading, would let a thing be
    /// done at every attempt.
    unwritten: Mutex<HashSet<(String, String)>>,
}

/// Makes the claim on one connection: whether it is ours, or else what is there.
macro_rules! claim_on {
    ($connection:expr, $statements:expr, $claim:expr) => {{
        let (scope, key) = (&$claim.scope, &$claim.key);
        let claimed = sqlx::query($statements.claim).bind(scope).bind(key).bind(&$claim.claimant).bind($claim.expiry());
        if claimed.fetch_optional(&mut *$connection).await?.is_some() {
            None
        } else {
            let look = sqlx::query_as::<_, (bool, i64)>($statements.look).bind(scope).bind(key).bind($claim.expiry());
            // Given up meanwhile: the next attempt claims it.
            Some(look.fetch_optional(&mut *$connection).await?.unwrap_or((false, 0)))
        }
    }};
}

/// Executes one statement with these values, on whichever database it is; answers how many rows it changed.
macro_rules! execute {
    ($database:expr, $statement:ident, $($value:expr),+) => {
        match &$database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => {
                let mut tx = crate::database::begin_immediate(pool).await?;
                let changed = sqlx::query(SQLITE.$statement)$(.bind($value))+.execute(&mut *tx).await?.rows_affected();
                tx.commit().await?;
                changed
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => {
                sqlx::query(POSTGRES.$statement)$(.bind($value))+.execute(pool).await?.rows_affected()
            }
        }
    };
}

impl Store {
    pub(super) async fn open(database: &Database, keep: Option<Duration>) -> Result<Self, DatabaseError> {
        database.migrate(&MIGRATIONS).await?;
        Ok(Self::new(database.clone(), keep))
    }

    fn new(database: Database, keep: Option<Duration>) -> Self {
        Self { database, keep, swept: Mutex::new(Instant::now()), unwritten: Mutex::default() }
    }

    /// The same table, whose records stay so long.
    pub(super) fn keeping(&self, keep: Option<Duration>) -> Self {
        Self::new(self.database.clone(), keep)
    }

    pub(super) async fn claim(self: &Arc<Self>, claim: Claim) -> Result<Claimed, sqlx::Error> {
        self.sweep();
        if self.unwritten().contains(&(claim.scope.clone(), claim.key.clone())) {
            self.write_done(&claim).await?;
            return Ok(Claimed::Done);
        }
        let there = match &self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(pool) => {
                let mut tx = crate::database::begin_immediate(pool).await?;
                let there = claim_on!(tx, SQLITE, claim);
                tx.commit().await?;
                there
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(pool) => {
                let mut connection = pool.acquire().await?;
                claim_on!(connection, POSTGRES, claim)
            }
        };
        Ok(match there {
            None => Claimed::Ours(Ours { store: Arc::clone(self), claim: Some(claim) }),
            Some((true, _)) => Claimed::Done,
            Some((false, left)) => Claimed::Another(Duration::from_micros(left.max(0).unsigned_abs())),
        })
    }

    async fn write_done(&self, claim: &Claim) -> Result<(), sqlx::Error> {
        let keep = self.keep.map(|keep| in_micros(keep.min(LONGEST)));
        execute!(self.database, done, &claim.scope, &claim.key, &claim.claimant, keep);
        self.unwritten().remove(&(claim.scope.clone(), claim.key.clone()));
        Ok(())
    }

    async fn write_given_up(&self, claim: &Claim) -> Result<(), sqlx::Error> {
        execute!(self.database, give_up, &claim.scope, &claim.key, &claim.claimant);
        Ok(())
    }

    /// Removes old records beside the work, now and then.
    fn sweep(self: &Arc<Self>) {
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.elapsed() < SWEEP {
                return;
            }
            *swept = Instant::now();
        }
        let store = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(error) = store.forget().await {
                tracing::warn!(error = crate::error::chain(&error), "old records of what was done once could not be removed");
            }
        });
    }

    /// Removes what was to be remembered until now, of all scopes: one that nobody uses any more has nobody else to do it.
    pub(super) async fn forget(&self) -> Result<(), sqlx::Error> {
        while execute!(self.database, forget, BATCH) > 0 {}
        Ok(())
    }

    fn unwritten(&self) -> MutexGuard<'_, HashSet<(String, String)>> {
        self.unwritten.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Started by us. A drop gives it up: whoever has it next may begin at once.
pub(super) struct Ours {
    store: Arc<Store>,
    /// Until it ends.
    claim: Option<Claim>,
}

impl Ours {
    /// It is done.
    ///
    /// # Errors
    /// When the record cannot be written; this process remembers it until it can.
    pub(super) async fn done(mut self) -> Result<(), sqlx::Error> {
        let Some(claim) = self.claim.take() else { return Ok(()) };
        let mut unwritten = Unwritten { store: &self.store, claim: Some(&claim) };
        let written = self.store.write_done(&claim).await;
        if written.is_ok() {
            unwritten.claim = None;
        }
        written
    }

    /// It failed.
    pub(super) async fn given_up(mut self) {
        if let Some(claim) = self.claim.take()
            && let Err(error) = self.store.write_given_up(&claim).await
        {
            tracing::debug!(error = crate::error::chain(&error), "the next attempt takes over what this one started");
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(claim) = self.claim.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let store = Arc::clone(&self.store);
            runtime.spawn(async move { store.write_given_up(&claim).await });
        }
    }
}

/// Remembers what is done, when its record was not written, for whatever reason.
struct Unwritten<'a> {
    store: &'a Store,
    claim: Option<&'a Claim>,
}

impl Drop for Unwritten<'_> {
    fn drop(&mut self) {
        if let Some(claim) = self.claim {
            let mut unwritten = self.store.unwritten();
            if unwritten.len() < MOST_UNWRITTEN {
                unwritten.insert((claim.scope.clone(), claim.key.clone()));
            }
        }
    }
}
