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

/// A statement that writes rows, from where their columns are named.
macro_rules! insert {
    ($($part:literal),+) => {
        concat!(
            "INSERT INTO tidings_outbox (service, source, id, type, topic, key, headers, content_type, body, created_at) ",
            $($part),+
        )
    };
}

/// Binds the columns of a row by itself: the same ones, in that order, on every database.
macro_rules! bind_row {
    ($query:expr, $into:expr, $message:expr) => {{
        let (message, columns): (&Message, Columns) = ($message, Columns::of($message));
        $query
            .bind(&$into.service)
            .bind(message.source().as_str())
            .bind(message.id().to_string())
            .bind(message.event_type().as_str())
            .bind(message.topic().as_str())
            .bind(message.key().map(|key| key.as_str()))
            .bind(columns.headers)
            .bind(message.content_type().map_or("", |said| said.as_str()))
            .bind(&message.body()[..])
            .bind(columns.created_at)
    }};
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use super::{Columns, Insert, Message};

    const INSERT: &str = insert!("VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)");

    /// One prepared statement, executed in process: many rows cost no more round trips than one.
    pub(super) async fn insert(into: &Insert, connection: &mut sqlx::SqliteConnection, messages: &[Message]) -> sqlx::Result<()> {
        for message in messages {
            bind_row!(sqlx::query(INSERT), into, message).execute(&mut *connection).await?;
        }
        Ok(())
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use super::{Columns, Insert, KeyLocks, Message};

    /// The first half of the advisory locks on keys; the second is the key's hash.
    const LOCK_CLASS: i32 = 0x7469_6401;

    /// What a row by itself is: planned once, where the arrays of [`MANY`] are planned anew each time, for their length.
    const ONE: &str = insert!("VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10)");
    /// The lock stands in FROM: that is computed before the columns, so whoever writes a key second has the higher number.
    const ONE_LOCKED: &str = insert!(
        "SELECT $1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9::bytea, $10::bigint FROM pg_advisory_xact_lock($11, hashtext($6))"
    );

    macro_rules! many {
        ($($lock:literal)?) => {
            insert!(
                "SELECT $1, source, id, type, topic, key, headers::jsonb, content_type, body, created_at
                FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bytea[], $10::bigint[])
                    AS message (source, id, type, topic, key, headers, content_type, body, created_at)"
                $(, $lock)?
            )
        };
    }
    const MANY: &str = many!();
    const MANY_LOCKED: &str = many!(", LATERAL pg_advisory_xact_lock($11, hashtext(message.key))");

    pub(super) async fn insert(into: &Insert, connection: &mut sqlx::PgConnection, messages: &[Message]) -> sqlx::Result<()> {
        let locked = into.locks == KeyLocks::Take && messages.iter().any(|message| message.key().is_some());
        let query = match messages {
            [message] => one(into, message, locked),
            _ => many(into, messages, locked),
        };
        let query = if locked { query.bind(LOCK_CLASS) } else { query };
        query.execute(&mut *connection).await?;
        if into.notify {
            sqlx::query("SELECT pg_notify($1, $2)").bind(super::super::CHANNEL).bind(&into.service).execute(connection).await?;
        }
        Ok(())
    }

    type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

    fn one<'q>(into: &'q Insert, message: &'q Message, locked: bool) -> Query<'q> {
        bind_row!(sqlx::query(if locked { ONE_LOCKED } else { ONE }), into, message)
    }

    fn many<'q>(into: &'q Insert, messages: &'q [Message], locked: bool) -> Query<'q> {
        let text = |of: fn(&Message) -> &str| messages.iter().map(of).collect::<Vec<_>>();
        let (headers, created_at): (Vec<_>, Vec<_>) =
            messages.iter().map(Columns::of).map(|columns| (columns.headers, columns.created_at)).unzip();
        sqlx::query(if locked { MANY_LOCKED } else { MANY })
            .bind(&into.service)
            .bind(text(|message| message.source().as_str()))
            .bind(messages.iter().map(|message| message.id().to_string()).collect::<Vec<_>>())
            .bind(text(|message| message.event_type()))
            .bind(text(|message| message.topic().as_str()))
            .bind(messages.iter().map(|message| message.key().map(|key| key.as_str())).collect::<Vec<_>>())
            .bind(headers)
            .bind(text(|message| message.content_type().map_or("", |said| said.as_str())))
            .bind(messages.iter().map(|message| &message.body()[..]).collect::<Vec<_>>())
            .bind(created_at)
    }
}
