//! What differs between the databases: how a transaction begins, records its message, and ends.

use std::{ops::DerefMut, time::SystemTime};

use sqlx::Pool;
use tokio::time::Instant;

use super::Record;
use crate::{
    database::Database,
    outbox::{InTransaction, micros},
};

/// A database that handlers' transactions can run on.
pub trait Engine: sqlx::Database {
    /// An open transaction; a drop rolls it back.
    type Open: DerefMut<Target = Self::Connection> + InTransaction + Send + 'static;

    /// What finds the transaction from outside of its connection.
    type Running: Send + Sync + 'static;

    #[doc(hidden)]
    fn database(pool: Pool<Self>) -> Database;

    /// Begins one, whose statements end by then.
    #[doc(hidden)]
    fn begin(pool: &Pool<Self>, end: Instant) -> impl Future<Output = sqlx::Result<Self::Open>> + Send;

    /// Records the message; `None` when it was handled before.
    #[doc(hidden)]
    fn record(open: &mut Self::Open, record: Record) -> impl Future<Output = sqlx::Result<Option<Self::Running>>> + Send;

    /// Whether it can still commit; `written_to`: the framework writes to it once more before. An aborted transaction of Postgres
    /// refuses that by itself, but answers COMMIT without an error; what SQLite has ended by itself takes it, and commits it at
    /// once, but says at COMMIT that there is none.
    #[doc(hidden)]
    fn check(open: &mut Self::Open, written_to: bool) -> impl Future<Output = sqlx::Result<()>> + Send;

    #[doc(hidden)]
    fn commit(open: Self::Open) -> impl Future<Output = sqlx::Result<()>> + Send;

    #[doc(hidden)]
    fn roll_back(open: Self::Open) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Ends what its connection is still doing though nobody waits for it: that would hold its locks.
    #[doc(hidden)]
    fn cancel(pool: Pool<Self>, running: Self::Running) -> impl Future<Output = sqlx::Result<()>> + Send + 'static;
}

fn now() -> i64 {
    micros(SystemTime::now())
}

#[cfg(feature = "sqlite")]
const ENDED: &str =
    "a statement ended it, by `ON CONFLICT ROLLBACK`, for a full disk, or because it said so: return its error from the handler";

#[cfg(feature = "sqlite")]
impl Engine for sqlx::Sqlite {
    type Open = crate::database::WriteTransaction;
    type Running = ();

    fn database(pool: Pool<Self>) -> Database {
        Database::Sqlite(pool)
    }

    /// One at a time a file; SQLite ends no statement by time.
    async fn begin(pool: &Pool<Self>, _: Instant) -> sqlx::Result<Self::Open> {
        crate::database::begin_immediate(pool).await
    }

    async fn record(open: &mut Self::Open, record: Record) -> sqlx::Result<Option<()>> {
        const RECORD: &str = "INSERT INTO tidings_inbox (subscription, source, message_id, handled_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let record = sqlx::query(RECORD).bind(&*record.subscription).bind(&*record.source).bind(&record.id).bind(now());
        let recorded = record.execute(&mut **open).await?;
        Ok((recorded.rows_affected() > 0).then_some(()))
    }

    /// Most statements that fail leave the transaction as it was.
    async fn check(open: &mut Self::Open, written_to: bool) -> sqlx::Result<()> {
        if written_to && crate::database::begun_anew(open).await? {
            return Err(sqlx::Error::Protocol(ENDED.to_owned()));
        }
        Ok(())
    }

    async fn commit(open: Self::Open) -> sqlx::Result<()> {
        open.commit().await
    }

    async fn roll_back(open: Self::Open) -> sqlx::Result<()> {
        open.rollback().await
    }

    async fn cancel(_: Pool<Self>, (): ()) -> sqlx::Result<()> {
        Ok(())
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use sqlx::{AssertSqlSafe, Connection, Pool, Postgres, SqlSafeStr, Transaction, postgres::PgConnection};

    use super::{Database, Engine, Instant, Record, now};

    /// The server's process, and when the transaction began there: processes serve others afterwards.
    type Running = (i32, String);

    impl Engine for Postgres {
        type Open = Transaction<'static, Self>;
        type Running = Running;

        fn database(pool: Pool<Self>) -> Database {
            Database::Postgres(pool)
        }

        async fn begin(pool: &Pool<Self>, end: Instant) -> sqlx::Result<Self::Open> {
            let connection = pool.acquire().await?;
            // 0 would mean for ever, and the setting is 32 bits wide.
            let most = end.saturating_duration_since(Instant::now()).as_millis().clamp(1, 0x7fff_ffff);
            let begin = AssertSqlSafe(format!("BEGIN; SET LOCAL statement_timeout = {most}"));
            Transaction::begin(connection, Some(begin.into_sql_str())).await
        }

        /// A round trip of its own: what fails within `begin_with` would leave its connection in a transaction, and in the pool.
        async fn record(open: &mut Self::Open, record: Record) -> sqlx::Result<Option<Running>> {
            const RECORD: &str =
                "INSERT INTO tidings_inbox (subscription, source, message_id, handled_at) VALUES ($1, $2, $3, $4)
                ON CONFLICT DO NOTHING RETURNING pg_backend_pid(), now()::text";
            let record = sqlx::query_as(RECORD).bind(&*record.subscription).bind(&*record.source).bind(&record.id).bind(now());
            record.fetch_optional(&mut **open).await
        }

        async fn check(open: &mut Self::Open, written_to: bool) -> sqlx::Result<()> {
            if written_to { Ok(()) } else { sqlx::query("SELECT 1").execute(&mut **open).await.map(drop) }
        }

        async fn commit(open: Self::Open) -> sqlx::Result<()> {
            open.commit().await
        }

        async fn roll_back(open: Self::Open) -> sqlx::Result<()> {
            open.rollback().await
        }

        /// With a connection of its own: the pool's may all be in that state.
        async fn cancel(pool: Pool<Self>, (process, began): Running) -> sqlx::Result<()> {
            const CANCEL: &str =
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND xact_start = $2::timestamptz";
            let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
            sqlx::query(CANCEL).bind(process).bind(began).execute(&mut connection).await?;
            connection.close().await
        }
    }
}
