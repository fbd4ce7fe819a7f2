//! Writing events into the caller's transaction.

use tidings_core::{Message, PublishError};

use super::{InTransaction, KeyLocks, Target, row::Columns};

/// Where a row goes, apart from the message.
#[derive(Debug, Clone)]
pub(super) struct Insert {
    pub(super) service: String,
    pub(super) locks: KeyLocks,
    pub(super) notify: bool,
}

impl Insert {
    pub(super) async fn rows<T: InTransaction + ?Sized>(&self, tx: &mut T, messages: &[Message]) -> Result<(), PublishError> {
        match tx.target() {
            #[cfg(feature = "postgres")]
            Target::Postgres(connection) => postgres::insert(self, connection, messages).await,
            #[cfg(feature = "sqlite")]
            Target::Sqlite(connection) => sqlite::insert(self, connection, messages).await,
        }
        .map_err(not_written)
    }
}

/// Deadlock and serialisation failure (Postgres), and the ways in which SQLite says that another writer was first.
fn not_written(error: sqlx::Error) -> PublishError {
    const TRY_AGAIN: [&str; 6] = ["40P01", "40001", "5", "6", "261", "517"];
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    if TRY_AGAIN.contains(&code.as_ref()) { PublishError::Conflict(error.into()) } else { PublishError::Outbox(error.into()) }
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::{Columns, Insert, Message};

    const INSERT: &str =
        "INSERT INTO tidings_outbox (service, source, id, type, topic, key, headers, content_type, body, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    /// One prepared statement, executed in process: many rows cost no more round trips than one.
    pub(super) async fn insert(into: &Insert, connection: &mut sqlx::SqliteConnection, messages: &[Message]) -> sqlx::Result<()> {
        for message in messages {
            let columns = Columns::of(message);
            sqlx::query(INSERT)
                .bind(&into.service)
                .bind(message.source().as_str())
                .bind(message.id().to_string())
                .bind(message.event_type().as_str())
                .bind(message.topic().as_str())
                .bind(message.key().map(|key| key.as_str()))
                .bind(columns.headers)
                .bind(message.content_type().map_or("", |said| said.as_str()))
                .bind(&message.body()[..])
                .bind(columns.created_at)
                .execute(&mut *connection)
                .await?;
        }
        Ok(())
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::{Columns, Insert, KeyLocks, Message};

    /// The first half of the advisory locks on keys; the second is the key's hash.
    const LOCK_CLASS: i32 = 0x7469_6401;

    macro_rules! insert {
        ($from:literal) => {
            concat!(
                "INSERT INTO tidings_outbox (service, source, id, type, topic, key, headers, content_type, body, created_at)
                SELECT $1, source, id, type, topic, key, headers::jsonb, content_type, body, created_at
                FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bigint[])
                    AS message (source, id, type, topic, key, headers, content_type, body, created_at)",
                $from
            )
        };
    }

    /// The lock is taken before the row's number, since what stands in FROM is computed before the columns: whoever writes a key
    /// second has the higher number.
    const LOCKED: &str = insert!(", LATERAL pg_advisory_xact_lock($11, hashtext(message.key))");
    const PLAIN: &str = insert!("");

    pub(super) async fn insert(into: &Insert, connection: &mut sqlx::PgConnection, messages: &[Message]) -> sqlx::Result<()> {
        let columns: Vec<_> = messages.iter().map(Columns::of).collect();
        let text = |of: fn(&Message) -> &str| messages.iter().map(of).collect::<Vec<_>>();
        let locked = into.locks == KeyLocks::Take && messages.iter().any(|message| message.key().is_some());
        let query = sqlx::query(if locked { LOCKED } else { PLAIN })
            .bind(&into.service)
            .bind(text(|message| message.source().as_str()))
            .bind(messages.iter().map(|message| message.id().to_string()).collect::<Vec<_>>())
            .bind(text(|message| message.event_type()))
            .bind(text(|message| message.topic().as_str()))
            .bind(messages.iter().map(|message| message.key().map(|key| key.as_str())).collect::<Vec<_>>())
            .bind(columns.iter().map(|columns| columns.headers.as_str()).collect::<Vec<_>>())
            .bind(text(|message| message.content_type().map_or("", |said| said.as_str())))
            .bind(messages.iter().map(|message| &message.body()[..]).collect::<Vec<_>>())
            .bind(columns.iter().map(|columns| columns.created_at).collect::<Vec<_>>());
        let query = if locked { query.bind(LOCK_CLASS) } else { query };
        query.execute(&mut *connection).await?;
        if into.notify {
            sqlx::query("SELECT pg_notify($1, $2)").bind(super::super::CHANNEL).bind(&into.service).execute(connection).await?;
        }
        Ok(())
    }
}
