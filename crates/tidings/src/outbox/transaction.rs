//! What counts as an open transaction.

#[cfg(feature = "postgres")]
use sqlx::{PgConnection, Postgres};
#[cfg(feature = "sqlite")]
use sqlx::{Sqlite, SqliteConnection};

/// The connection that a transaction runs on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Target<'a> {
    /// Of Postgres.
    #[cfg(feature = "postgres")]
    Postgres(&'a mut PgConnection),
    /// Of SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(&'a mut SqliteConnection),
}

/// An open transaction: sqlx's, or a type of one's own around one.
#[diagnostic::on_unimplemented(
    message = "an event can only be published into an open transaction, not into `{Self}`",
    label = "not an open transaction",
    note = "begin one: `let mut tx = pool.begin().await?`, publish into `&mut tx`, and commit it"
)]
pub trait InTransaction: Send {
    /// The connection, inside the transaction.
    fn target(&mut self) -> Target<'_>;
}

#[cfg(feature = "postgres")]
impl InTransaction for sqlx::Transaction<'_, Postgres> {
    fn target(&mut self) -> Target<'_> {
        Target::Postgres(self)
    }
}

#[cfg(feature = "sqlite")]
impl InTransaction for sqlx::Transaction<'_, Sqlite> {
    fn target(&mut self) -> Target<'_> {
        Target::Sqlite(self)
    }
}
