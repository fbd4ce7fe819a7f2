//! What only Postgres asks for.

use sqlx::postgres::PgDatabaseError;

/// Columns of the table `users`, and whether they hold text.
pub(super) const COLUMNS: &str = "SELECT attname::text, format_type(atttypid, NULL) IN ('text', 'character varying')
    FROM pg_attribute WHERE attrelid = to_regclass('users') AND attnum > 0 AND NOT attisdropped";
/// A row when the table is in our shape.
pub(super) const IS_OURS: &str = "SELECT 1 FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE indrelid = to_regclass('users') AND relname = 'users_tidings_email'";
/// A row when no two users can have one id.
pub(super) const HAS_KEY: &str = "SELECT 1 FROM pg_index WHERE indrelid = to_regclass('users') AND indisprimary";
/// Keeps the tutorial's own service from writing meanwhile, if it still runs.
pub(super) const LOCK: &str = "LOCK TABLE users IN SHARE ROW EXCLUSIVE MODE";
/// Lets one instance at a time look at the table.
pub(super) const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(hashtextextended('users', 0))";

/// Whether to try again later may help, by the class or code of the SQLSTATE: connection, login refused, rolled back (deadlock),
/// resources, operator intervention (shutdown, cancelled), system error; read only (a server that is not yet the primary), no
/// such database (dropped or renamed), lock not available.
pub(super) fn is_unavailable(error: &sqlx::Error) -> bool {
    let Some(said) = error.as_database_error().and_then(|said| said.try_downcast_ref::<PgDatabaseError>()) else {
        return false;
    };
    let code = said.code();
    ["08", "28", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        || ["25006", "3D000", "55P03"].contains(&code)
}
