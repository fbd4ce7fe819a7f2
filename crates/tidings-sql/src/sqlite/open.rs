//! Opening the file: made when absent, refused when it is not ours.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};
use tidings_core::BrokerError;

use super::{BUSY_TIMEOUT, NAME};
use crate::error::StoreError;

/// `tidi`: what marks a SQLite file as ours.
const APPLICATION_ID: i64 = 0x7469_6469;
/// The layout of `schema.sql`.
const VERSION: i64 = 1;
const SCHEMA: &str = include_str!("schema.sql");
/// What came later, and is no reason for a program that does not know it to refuse the file.
const LATER: &str = include_str!("later.sql");
/// A WAL that a burst made longer than this is cut to it when it begins anew.
const KEPT_WAL_BYTES: &str = "67108864";

pub(super) async fn open(path: &Path) -> Result<SqliteConnection, BrokerError> {
    make(path)?;
    let fail = |source| StoreError::of(path, source).into_broker_error();
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(false)
        // One process does it, at times of its own choosing.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", KEPT_WAL_BYTES)
        .disable_statement_logging();
    let mut connection = options.connect().await.map_err(fail)?;
    if !is_ours(&mut connection, path).await? {
        keep_a_log(&mut connection).await.map_err(fail)?;
        lay_out(&mut connection).await.map_err(fail)?;
        is_ours(&mut connection, path).await?;
    }
    keep_a_log(&mut connection).await.map_err(fail)?;
    connection.execute(LATER).await.map_err(fail)?;
    Ok(connection)
}

/// SQLite's own answer to a folder or a file that cannot be read names neither it nor the reason.
fn make(path: &Path) -> Result<(), BrokerError> {
    let refused = |place: &Path, error: std::io::Error| BrokerError::Refused {
        broker: NAME.to_owned(),
        reason: format!("{} cannot be opened: {error}", place.display()),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| refused(folder, error))?;
    }
    let mut options = fs::OpenOptions::new();
    options.create(true).append(true);
    // Events are nobody else's to read unless their owner says so; SQLite gives its log the mode of the file.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|error| refused(path, error))
}

/// Whether the file is laid out already; an empty one is not.
async fn is_ours(connection: &mut SqliteConnection, path: &Path) -> Result<bool, BrokerError> {
    const LOOK: &str = "SELECT (SELECT application_id FROM pragma_application_id), \
                        (SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_schema)";
    let row = connection.fetch_one(LOOK).await.map_err(|source| StoreError::of(path, source).into_broker_error())?;
    let corrupt = |reason: String| BrokerError::Corrupt { place: path.display().to_string(), reason };
    match (row.get::<i64, _>(0), row.get::<i64, _>(1), row.get::<i64, _>(2)) {
        (APPLICATION_ID, VERSION, _) => Ok(true),
        (APPLICATION_ID, version, _) => Err(corrupt(format!(
            "its layout has version {version}, this program knows {VERSION}; use the program that made it, or another file"
        ))),
        (0, 0, 0) => Ok(false),
        _ => Err(corrupt("it is another program's SQLite file; name another file".to_owned())),
    }
}

/// Changing to WAL asks for the file alone, and does not wait for it: two that open a new file at once meet here.
async fn keep_a_log(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    const PAUSE: Duration = Duration::from_millis(20);
    let begun = Instant::now();
    loop {
        match connection.execute("PRAGMA journal_mode = WAL").await {
            Ok(_) => return Ok(()),
            Err(error) if !crate::error::is_busy(&error) || begun.elapsed() > BUSY_TIMEOUT => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn lay_out(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema").fetch_one(&mut *transaction).await?;
    // Another process may have been first.
    if there == 0 {
        transaction.execute(SCHEMA).await?;
        let marks = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}");
        transaction.execute(AssertSqlSafe(marks)).await?;
    }
    transaction.commit().await
}
