//! Making and changing tables in steps, at start, however many instances start at once.
//!
//! sqlx's own migrator takes no lock on SQLite, and its one table of steps is the application's: a library's steps beside them
//! would be "missing" to it.

use super::{Database, DatabaseError};

/// The steps that make a component's tables, each taken once, in order; for every database its own text.
///
/// ```
/// # use tidings::database::Migrations;
/// pub const MIGRATIONS: Migrations = Migrations {
///     component: "mailed",
///     sqlite: &["CREATE TABLE mailed (user_id TEXT PRIMARY KEY, at TEXT NOT NULL)"],
///     postgres: &["CREATE TABLE mailed (user_id text PRIMARY KEY, at timestamptz NOT NULL)"],
/// };
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    /// Whose tables; steps are counted for each.
    pub component: &'static str,
    /// The steps on SQLite. A step may be several statements.
    pub sqlite: &'static [&'static str],
    /// The steps on Postgres.
    pub postgres: &'static [&'static str],
}

const STEPS_TABLE: &str = "CREATE TABLE IF NOT EXISTS tidings_migrations (
    component text NOT NULL, step bigint NOT NULL, checksum text NOT NULL, PRIMARY KEY (component, step))";
const TAKEN: &str = "SELECT checksum FROM tidings_migrations WHERE component = $1 ORDER BY step";
const TAKE: &str = "INSERT INTO tidings_migrations (component, step, checksum) VALUES ($1, $2, $3)";

/// Takes the steps that are left, in one transaction `$tx` that holds the lock already.
macro_rules! take_steps {
    ($tx:ident, $component:expr, $steps:expr) => {{
        let (component, steps) = ($component, $steps);
        sqlx::raw_sql(STEPS_TABLE).execute(&mut *$tx).await?;
        let taken: Vec<(String,)> = sqlx::query_as(TAKEN).bind(component).fetch_all(&mut *$tx).await?;
        for (place, text) in left(component, steps, &taken)? {
            let failed = |source| DatabaseError::Step { component, step: place + 1, source };
            sqlx::raw_sql(text).execute(&mut *$tx).await.map_err(failed)?;
            let step = i64::try_from(place + 1).unwrap_or(i64::MAX);
            sqlx::query(TAKE).bind(component).bind(step).bind(checksum(text)).execute(&mut *$tx).await.map_err(failed)?;
        }
        $tx.commit().await?;
    }};
}

impl Database {
    /// Takes the steps that were not taken here yet, all or none, one instance at a time.
    ///
    /// # Errors
    /// When a step fails, is another one than was taken, or the tables belong to a newer version.
    ///
    /// # Cancel safety
    /// A dropped future takes no step.
    pub async fn migrate(&self, migrations: &Migrations) -> Result<(), DatabaseError> {
        self.take_steps(migrations).await.map_err(|error| match (self, error) {
            #[cfg(feature = "sqlite")]
            (Self::Sqlite(pool), DatabaseError::Query(source)) => {
                super::sqlite::explained(source, pool.connect_options().get_filename(), DatabaseError::Query)
            }
            (_, error) => error,
        })
    }

    async fn take_steps(&self, migrations: &Migrations) -> Result<(), DatabaseError> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => {
                let mut tx = super::begin_immediate(pool).await?;
                take_steps!(tx, migrations.component, migrations.sqlite);
            }
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => {
                let mut tx = pool.begin().await?;
                sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tidings_migrations', 0))").execute(&mut *tx).await?;
                take_steps!(tx, migrations.component, migrations.postgres);
            }
        }
        Ok(())
    }
}

/// The steps that were not taken yet, with their places.
fn left<'a>(
    component: &'static str,
    steps: &'a [&'static str],
    taken: &[(String,)],
) -> Result<impl Iterator<Item = (usize, &'static str)> + use<'a>, DatabaseError> {
    if taken.len() > steps.len() {
        return Err(DatabaseError::Newer { component, found: taken.len(), known: steps.len() });
    }
    if let Some(place) = (0..taken.len()).find(|&place| taken[place].0 != checksum(steps[place])) {
        return Err(DatabaseError::Changed { component, step: place + 1 });
    }
    Ok(steps.iter().copied().enumerate().skip(taken.len()))
}

fn checksum(text: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
