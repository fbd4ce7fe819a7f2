//! What it costs that a handler's write happens once: a transaction with a record of the message, against the write alone.

use anyhow::{Result, anyhow};
use sqlx::{PgPool, Postgres, Sqlite, SqlitePool};
use tidings::{
    Failure, FromRef, Handlers, Service, State, Tx,
    database::{Database, begin_immediate},
    handlers::Complete,
    service::Running,
};
use tokio::time::Instant;

use super::{
    Comparison, On, Variant, Window,
    outbox::service,
    sent::{Handled, Sent, body, message, names, rate},
    variant,
};

pub(super) fn all() -> Vec<Comparison> {
    let comparison = |name, ground, variants: Vec<Variant>| Comparison {
        name,
        about: "Events on the memory broker to a handler that inserts a row, 16 connections; synchronous commits.",
        unit: "messages/s",
        ground,
        current_thread: false,
        variants,
    };
    vec![
        comparison(
            "handler with Tx, Postgres",
            On::Postgres,
            vec![
                variant!("insert", |w| postgres(w, Way::Alone)),
                variant!("in a transaction of its own", |w| postgres(w, Way::Own)),
                variant!("with Tx" >= 0.7, |w| postgres(w, Way::Tx)),
            ],
        ),
        comparison(
            "handler with Tx, SQLite",
            On::Nothing,
            vec![
                variant!("insert", |w| sqlite(w, Way::Alone)),
                variant!("in a transaction of its own", |w| sqlite(w, Way::Own)),
                variant!("with Tx" >= 0.7, |w| sqlite(w, Way::Tx)),
            ],
        ),
    ]
}

/// How the handler writes.
#[derive(Clone, Copy)]
enum Way {
    Alone,
    Own,
    Tx,
}

const CONNECTIONS: u32 = 16;
const TABLE: &str = "CREATE TABLE facts (id TEXT PRIMARY KEY, name TEXT NOT NULL)";
const INSERT: &str = "INSERT INTO facts (id, name) VALUES ($1, $2)";

#[derive(Clone)]
struct App<Pool> {
    pool: Pool,
    handled: Handled,
}

/// The pool's type is no parameter: one of each, or the compiler would see every `T` in them.
macro_rules! parts {
    ($($pool:ty),*) => {$(
        impl FromRef<App<$pool>> for $pool {
            fn from_ref(app: &App<$pool>) -> Self {
                app.pool.clone()
            }
        }

        impl FromRef<App<$pool>> for Handled {
            fn from_ref(app: &App<$pool>) -> Self {
                app.handled.clone()
            }
        }
    )*};
}

parts!(PgPool, SqlitePool);

fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// The handlers of one database, which differ in its types alone.
macro_rules! handlers {
    ($way:expr, $db:ty, $pool:ty, $begin:path, $app:expr) => {{
        async fn alone(event: Sent, State(pool): State<$pool>, State(handled): State<Handled>) -> Result<(), Failure> {
            sqlx::query(INSERT).bind(id()).bind(event.text).execute(&pool).await?;
            handled.one();
            Ok(())
        }
        async fn own(event: Sent, State(pool): State<$pool>, State(handled): State<Handled>) -> Result<(), Failure> {
            let mut tx = $begin(&pool).await?;
            sqlx::query(INSERT).bind(id()).bind(event.text).execute(&mut *tx).await?;
            tx.commit().await?;
            handled.one();
            Ok(())
        }
        async fn with_tx(event: Sent, State(handled): State<Handled>, mut tx: Tx<$db>) -> Result<(), Failure> {
            sqlx::query(INSERT).bind(id()).bind(event.text).execute(&mut *tx).await?;
            handled.one();
            Ok(())
        }
        match $way {
            Way::Alone => Handlers::new().on(alone).with_state($app),
            Way::Own => Handlers::new().on(own).with_state($app),
            Way::Tx => Handlers::new().on(with_tx).with_state($app),
        }
    }};
}

async fn postgres(window: Window, way: Way) -> Result<f64> {
    let service = service(&window.place, CONNECTIONS)?;
    let Database::Postgres(pool) = service.database().await.map_err(failed)? else { return Err(anyhow!("not of Postgres")) };
    sqlx::query(TABLE).execute(&pool).await?;
    let handled = Handled::default();
    let handlers: Handlers = handlers!(way, Postgres, PgPool, PgPool::begin, App { pool, handled: handled.clone() });
    run(window, service, handlers, handled).await
}

async fn sqlite(window: Window, way: Way) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let service = service(&format!("sqlite:{}", folder.path().join("bench.db").display()), CONNECTIONS)?;
    let Database::Sqlite(pool) = service.database().await.map_err(failed)? else { return Err(anyhow!("not of SQLite")) };
    sqlx::query(TABLE).execute(&pool).await?;
    let handled = Handled::default();
    let handlers: Handlers = handlers!(way, Sqlite, SqlitePool, begin_immediate, App { pool, handled: handled.clone() });
    run(window, service, handlers, handled).await
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: tidings::Error) -> anyhow::Error {
    anyhow!("{error}")
}

async fn run(window: Window, service: Service, handlers: impl Complete, handled: Handled) -> Result<f64> {
    let publisher = service.publisher().await.map_err(failed)?;
    let running: Running = service.handlers(handlers).start().await.map_err(failed)?;
    let (topic, source) = names()?;
    let body = body(128);
    let begun = Instant::now();
    let mut sent = 0;
    while begun.elapsed() < window.time {
        publisher.publish_message(&message(&topic, &source, &body)).await?;
        sent += 1;
        handled.catch_up(sent, 1_000).await;
    }
    handled.catch_up(sent, 0).await;
    let rate = rate(sent, begun);
    let _ = running.stop().await;
    Ok(rate)
}
