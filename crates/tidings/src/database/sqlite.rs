//! SQLite, as a service's database: one file, safe against crashes.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use sqlx::{
    ConnectOptions as _, Connection as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tidings_core::url::{Url, redacted};

use super::{DatabaseError, DatabaseOptions};

/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) async fn open(
    url: &Url,
    options: &DatabaseOptions,
    on_wait: impl Fn(&DatabaseError),
) -> Result<SqlitePool, DatabaseError> {
    let path = path_of(url)?;
    let Some(path) = path else {
        // Every connection would have a database of its own.
        let connect = SqliteConnectOptions::new().in_memory(true).foreign_keys(true);
        return Ok(SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(connect)
            .await?);
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|source| DatabaseError::File { path: path.clone(), source })?;
    }
    // SQLite's own answer to a folder or a file that cannot be read names neither the file nor the reason.
    new_file().open(&path).map_err(|source| DatabaseError::File { path: path.clone(), source })?;
    let connect = SqliteConnectOptions::new()
        .filename(&path)
        .journal_mode(SqliteJournalMode::Wal)
        // With NORMAL a loss of power takes the last transactions with it.
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true);
    wait_for_file(url, &connect, options.wait, on_wait).await?;
    let pool = SqlitePoolOptions::new().max_connections(options.connections).acquire_timeout(options.acquire);
    Ok(pool.connect_lazy_with(connect))
}

/// With a connection of its own: a pool's time is up before SQLite says that the file is locked.
async fn wait_for_file(
    url: &Url,
    connect: &SqliteConnectOptions,
    wait: Duration,
    on_wait: impl Fn(&DatabaseError),
) -> Result<(), DatabaseError> {
    let begun = std::time::Instant::now();
    loop {
        let Err(source) = look(connect).await else { return Ok(()) };
        let unavailable = |source| DatabaseError::Unavailable { place: redacted(url), source };
        let error = explained(source, connect.get_filename(), unavailable);
        // SQLite itself has waited before it says so.
        if !matches!(error, DatabaseError::Locked { .. }) || begun.elapsed() > wait {
            return Err(error);
        }
        on_wait(&error);
    }
}

async fn look(connect: &SqliteConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = connect.connect().await?;
    sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut connection).await?;
    // Readers pass by another program's transaction; whoever makes tables does not.
    sqlx::raw_sql("BEGIN IMMEDIATE; ROLLBACK").execute(&mut connection).await?;
    connection.close().await
}

/// What SQLite's answer says of the file, and otherwise `other`.
pub(super) fn explained(source: sqlx::Error, path: &Path, other: impl FnOnce(sqlx::Error) -> DatabaseError) -> DatabaseError {
    let path = path.to_owned();
    match primary_code(&source) {
        Some(CORRUPT | NOT_A_DATABASE) => DatabaseError::Corrupt { path, source },
        Some(BUSY | LOCKED) => DatabaseError::Locked { path, source },
        _ => other(source),
    }
}

/// What a service keeps is nobody else's to read; SQLite gives its log the mode of the file. A file that is there keeps its own.
fn new_file() -> std::fs::OpenOptions {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The file; `None` for a database in memory.
fn path_of(url: &Url) -> Result<Option<PathBuf>, DatabaseError> {
    let fail = |reason: &str| Err(DatabaseError::Url { url: redacted(url), reason: reason.to_owned() });
    if url.query().is_some() {
        return fail("`sqlite:` takes no settings");
    }
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return fail("a file has no host: sqlite:relative/path or sqlite:///absolute/path");
    }
    let Ok(path) = percent_encoding::percent_decode_str(url.path()).decode_utf8() else { return fail("the path is not UTF-8") };
    match &*path {
        "" | "/" => fail("a file is missing: sqlite:data/users.db"),
        ":memory:" => Ok(None),
        path => Ok(Some(path.into())),
    }
}

// <https://www.sqlite.org/rescode.html>
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error().and_then(|error| error.code())?;
    // Extended codes carry the primary one in their low byte.
    code.parse::<i32>().ok().map(|code| code & 0xff)
}
