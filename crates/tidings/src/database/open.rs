//! Opening a database by its URL.

use std::time::Duration;

use tidings_core::url::{Url, redacted};

use super::{Database, DatabaseError};

/// How a database is opened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct DatabaseOptions {
    /// The most connections of the pool; 16.
    pub connections: u32,
    /// How long a caller waits for a free connection before it gets an error; 3 s.
    pub acquire: Duration,
    /// How long an absent database is waited for; 30 s.
    pub wait: Duration,
}

impl Default for DatabaseOptions {
    fn default() -> Self {
        Self { connections: 16, acquire: Duration::from_secs(3), wait: Duration::from_secs(30) }
    }
}

impl Database {
    /// Opens `sqlite:PATH` (made, with its folder, when absent) or `postgres://user:password@host:port/name`.
    ///
    /// An absent server, and a file that another program keeps locked, are waited for, with back-off, as long as
    /// [`DatabaseOptions::wait`] says; `on_wait` hears why, at each try.
    ///
    /// # Errors
    /// When the URL is wrong, the file damaged, or the server still absent or the file locked after the wait.
    ///
    /// # Cancel safety
    /// A dropped future leaves nothing open.
    pub async fn open(url: &str, options: &DatabaseOptions, on_wait: impl Fn(&DatabaseError)) -> Result<Self, DatabaseError> {
        let parsed = Url::parse(url).map_err(|error| DatabaseError::Url {
            // What does not parse cannot be shown without its password either.
            url: "(not shown)".to_owned(),
            reason: format!("{error}; {ALLOWED}"),
        })?;
        match parsed.scheme() {
            #[cfg(feature = "sqlite")]
            "sqlite" => super::sqlite::open(&parsed, options, on_wait).await.map(Self::Sqlite),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => open_postgres(&parsed, options, on_wait).await,
            scheme => Err(DatabaseError::Url { url: redacted(&parsed), reason: format!("no database `{scheme}:`; {ALLOWED}") }),
        }
    }
}

const ALLOWED: &str = match (cfg!(feature = "sqlite"), cfg!(feature = "postgres")) {
    (true, false) => "sqlite:PATH is (postgres:// asks for the feature `postgres`)",
    (false, true) => "postgres://user:password@host:port/name is (sqlite: asks for the feature `sqlite`)",
    _ => "sqlite:PATH and postgres://user:password@host:port/name are",
};

#[cfg(feature = "postgres")]
async fn open_postgres(
    url: &Url,
    options: &DatabaseOptions,
    on_wait: impl Fn(&DatabaseError),
) -> Result<Database, DatabaseError> {
    let connect = url
        .as_str()
        .parse::<sqlx::postgres::PgConnectOptions>()
        .map_err(|error| DatabaseError::Url { url: redacted(url), reason: error.to_string() })?;
    wait_for_postgres(url, &connect, options.wait, on_wait).await?;
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(options.connections).acquire_timeout(options.acquire);
    Ok(pool.connect_lazy_with(connect).into())
}

/// With a connection of its own: a pool tries again by itself until its own time is up, without a word.
#[cfg(feature = "postgres")]
async fn wait_for_postgres(
    url: &Url,
    connect: &sqlx::postgres::PgConnectOptions,
    wait: Duration,
    on_wait: impl Fn(&DatabaseError),
) -> Result<(), DatabaseError> {
    use sqlx::{ConnectOptions, Connection};

    let begun = std::time::Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let source = match tokio::time::timeout(wait.max(SHORTEST_TRY), connect.connect()).await {
            Ok(Ok(connection)) => return Ok(connection.close().await?),
            Ok(Err(source)) => source,
            Err(_) => sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "it does not answer")),
        };
        let hopeless = is_login_refused(&source) || begun.elapsed() + pause > wait;
        let error = DatabaseError::Unavailable { place: redacted(url), source };
        if hopeless {
            return Err(error);
        }
        on_wait(&error);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Class 28, <https://www.postgresql.org/docs/current/errcodes-appendix.html>: waiting does not mend a wrong password.
#[cfg(feature = "postgres")]
fn is_login_refused(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("28"))
}

/// A try is given this long at least, however short the wait.
#[cfg(feature = "postgres")]
const SHORTEST_TRY: Duration = Duration::from_secs(5);
#[cfg(feature = "postgres")]
const FIRST_PAUSE: Duration = Duration::from_millis(100);
#[cfg(feature = "postgres")]
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
