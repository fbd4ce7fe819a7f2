//! What only SQLite asks for.

use sqlx::{error::DatabaseError, sqlite::SqliteError};

/// Columns of the table `users`, and whether they hold text: any column of SQLite does.
pub(super) const COLUMNS: &str = "SELECT name, true FROM pragma_table_info('users')";
/// A row when the table is in our shape.
pub(super) const IS_OURS: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'index' AND name = 'users_tidings_email'";
/// A row when no two users can have one id.
pub(super) const HAS_KEY: &str = "SELECT 1 FROM pragma_table_info('users') WHERE pk > 0";
/// Nothing: `BEGIN IMMEDIATE` keeps other writers away already.
pub(super) const LOCK: &str = "SELECT 1";

/// Whether to try again later may help, by the primary code, <https://www.sqlite.org/rescode.html>: busy, locked, out of
/// memory, read only, interrupted, I/O error, full, cannot open.
pub(super) fn is_unavailable(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().and_then(|said| said.try_downcast_ref::<SqliteError>());
    let code = said.and_then(|said| said.code()?.parse::<u32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 9 | 10 | 13 | 14))
}
