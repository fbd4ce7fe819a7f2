//! Who has had the welcome mail: one mail for one user, in whatever form and however often the event comes.
//!
//! The records are the framework's ([`Dedup`]), in the service's own database; instances that share a group must share it. Here is
//! what makes them the service's: the user's id is what counts, and the rows of the table that older versions kept are taken over.

use tidings::database::{Database, DatabaseError, Migrations};
use tidings::inbox::Dedup;

use crate::event::UserCreated;

/// Under which the records are kept, whatever `--name` the service has.
const SCOPE: &str = "mailed";

/// The table of older versions, and its end.
const MIGRATIONS: Migrations = Migrations {
    component: "mailed",
    sqlite: &[
        "CREATE TABLE mailed (
        user_id text NOT NULL PRIMARY KEY,
        at text NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
    ) WITHOUT ROWID",
        "INSERT INTO tidings_dedup (scope, key, claimant, started_at, done_at)
            SELECT 'mailed', user_id, '', CAST(unixepoch(at, 'subsec') * 1000000 AS INTEGER), CAST(unixepoch(at, 'subsec') * 1000000 AS INTEGER)
            FROM mailed WHERE true ON CONFLICT DO NOTHING;
        DROP TABLE mailed",
    ],
    postgres: &[
        "CREATE TABLE mailed (
        user_id text PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now()
    )",
        "INSERT INTO tidings_dedup (scope, key, claimant, started_at, done_at)
            SELECT 'mailed', user_id, '', (extract(epoch FROM at) * 1000000)::bigint, (extract(epoch FROM at) * 1000000)::bigint
            FROM mailed ON CONFLICT DO NOTHING;
        DROP TABLE mailed",
    ],
};

/// The layer that lets the handler mail a user once; its tables are made when they are absent.
///
/// # Errors
/// When they cannot be made, or belong to a newer version.
///
/// # Cancel safety
/// A dropped future may have made them.
pub async fn once_for_a_user(database: &Database) -> Result<Dedup, DatabaseError> {
    let dedup = Dedup::open(database).await?.by(|user: &UserCreated| user.id.clone()).scope(SCOPE);
    database.migrate(&MIGRATIONS).await?;
    Ok(dedup)
}

#[cfg(test)]
mod tests {
    use tidings::database::DatabaseOptions;

    use super::*;

    /// What a version before this one left, with three users in it.
    const BEFORE: Migrations =
        Migrations { component: "mailed", sqlite: MIGRATIONS.sqlite.split_at(1).0, postgres: MIGRATIONS.postgres.split_at(1).0 };
    const USERS: &str = "INSERT INTO mailed (user_id) VALUES ('ada'), ('имя ''; --'), ('grace')";
    const KNOWN: &str = "SELECT key FROM tidings_dedup WHERE scope = 'mailed' AND done_at > 1577836800000000 ORDER BY key";

    async fn are_taken_over(url: &str) {
        let database = Database::open(url, &DatabaseOptions::default(), |_| {}).await.unwrap();
        database.migrate(&BEFORE).await.unwrap();
        let insert = async || match &database {
            Database::Sqlite(pool) => sqlx::query(USERS).execute(pool).await.map(drop),
            Database::Postgres(pool) => sqlx::query(USERS).execute(pool).await.map(drop),
            _ => unreachable!(),
        };
        insert().await.unwrap();
        for _ in 0..2 {
            once_for_a_user(&database).await.unwrap();
            let known: Vec<String> = match &database {
                Database::Sqlite(pool) => sqlx::query_scalar(KNOWN).fetch_all(pool).await.unwrap(),
                Database::Postgres(pool) => sqlx::query_scalar(KNOWN).fetch_all(pool).await.unwrap(),
                _ => unreachable!(),
            };
            assert_eq!(known, ["ada", "grace", "имя '; --"]);
        }
        insert().await.unwrap_err();
    }

    #[tokio::test]
    async fn the_rows_of_older_versions_are_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        are_taken_over(&format!("sqlite:{}/email.db", folder.path().display())).await;
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_rows_of_older_versions_are_taken_over_on_postgres() {
        let Some(postgres) = tidings_testing::servers::Postgres::shared().await else { return };
        are_taken_over(&postgres.database().await).await;
    }
}
