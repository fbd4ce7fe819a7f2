//! Looking at what the service depends on while it runs, so that readiness follows.

use std::{sync::Arc, time::Duration};

use tidings_core::Health;
use tokio::time::interval;

use super::core::Core;
use crate::readiness::State;

/// How often the broker's health is looked at, so that readiness follows within 2 s.
const BROKER_PACE: Duration = Duration::from_millis(250);
/// How often the database is asked.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
const DATABASE_PACE: Duration = Duration::from_secs(2);

/// Keeps `/readyz` true of the broker. Without it a subscriber is of no use; who only publishes through the outbox goes on.
pub(super) async fn watch_broker(core: Arc<Core>, subscribes: bool) {
    let mut pace = interval(BROKER_PACE);
    let mut part = None;
    let mut last = None;
    loop {
        pace.tick().await;
        let Some(broker) = core.open() else { continue };
        let health = broker.health();
        if last.as_ref() == Some(&health) {
            continue;
        }
        let url = core.broker_shown().unwrap_or_default();
        let state = match &health {
            Health::Up => State::Up,
            Health::Warning(why) => State::Noted(format!("{url}: {why}")),
            Health::Down(why) if subscribes => State::Down(format!("{url}: {why}")),
            Health::Down(why) => State::Noted(format!("{url} is away, events wait in the outbox: {why}")),
            _ => State::Noted(format!("{url} is in a state that is not known here")),
        };
        match &state {
            State::Up if last.is_some() => tracing::info!("the broker is there again"),
            State::Up => {}
            State::Noted(why) | State::Down(why) => tracing::warn!("the broker: {why}"),
        }
        part.get_or_insert_with(|| core.readiness.part("broker")).set(state);
        last = Some(health);
    }
}

/// Keeps `/readyz` true of the database. A pool whose connections are all in use is no reason to send callers elsewhere.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(super) async fn watch_database(core: Arc<Core>) {
    let mut pace = interval(DATABASE_PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut part = None;
    let mut was_up = true;
    loop {
        pace.tick().await;
        let Some(database) = core.storage.open() else { continue };
        let state = match database.ping().await {
            Ok(()) => State::Up,
            // The same error stands for a server that does not answer.
            Err(_) if all_in_use(database) => State::Noted("every connection is in use".to_owned()),
            Err(error) => State::Down(crate::error::chain(&error)),
        };
        let up = !matches!(state, State::Down(_));
        match &state {
            State::Down(why) if was_up => tracing::warn!("the database: {why}"),
            _ if up && !was_up => tracing::info!("the database is there again"),
            _ => {}
        }
        was_up = up;
        part.get_or_insert_with(|| core.readiness.part("database")).set(state);
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn all_in_use(database: &crate::database::Database) -> bool {
    use crate::database::Database;
    match database {
        #[cfg(feature = "sqlite")]
        Database::Sqlite(pool) => pool.size() >= pool.options().get_max_connections(),
        #[cfg(feature = "postgres")]
        Database::Postgres(pool) => pool.size() >= pool.options().get_max_connections(),
    }
}
