//! Stopping in order: nothing new, what is in hand, what it leaves, then the connections.

use std::{cmp::max, sync::atomic::Ordering, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{ServiceError, run::Running};
use crate::{Error, Result, readiness::State};

/// When each step has to be over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// Calls and handlers that still run are cut.
    cut: Instant,
    /// The relay sends no more.
    relay: Instant,
    /// Everything.
    end: Instant,
}

/// Broker and database are given this long to close, however late it is.
const SHORTEST_CLOSE: Duration = Duration::from_millis(100);

impl Plan {
    /// Four fifths for what runs; of the last fifth three quarters for the relay, and the rest to close.
    fn new(begun: Instant, drain: Duration) -> Self {
        Self { cut: begun + drain * 4 / 5, relay: begun + drain * 19 / 20, end: begun + drain }
    }
}

pub(super) async fn drain(mut running: Running) -> Result<()> {
    let begun = Instant::now();
    let plan = Plan::new(begun, running.core.settings.get("drain")?);
    let mut failure = None;

    running.core.lifecycle.set(State::Down("stopping".to_owned()));
    #[cfg(feature = "grpc")]
    running.health.not_serving().await;
    running.drain.stop.cancel();

    let finished = async {
        finish(&mut running.parts, &mut failure).await;
        finish(&mut running.told, &mut failure).await;
    };
    if timeout_at(plan.cut, finished).await.is_err() {
        tracing::warn!(servers_and_subscriptions = running.parts.len(), tasks = running.told.len(), "what still runs is cut");
    }
    running.drain.cut.cancel();
    running.told.abort_all();
    // Cut handlers hand back what they had; that takes a moment, not the time that is left for the relay.
    if timeout_at(plan.relay, finish(&mut running.parts, &mut failure)).await.is_err() {
        // Its loop itself is held up.
        running.drain.hung.store(true, Ordering::Relaxed);
    }
    running.parts.abort_all();
    running.endless.abort_all();

    running.relay_drain.stop.cancel();
    if timeout_at(plan.relay, finish(&mut running.relays, &mut failure)).await.is_err() {
        running.relay_drain.cut.cancel();
        let _ = timeout_at(plan.end, finish(&mut running.relays, &mut failure)).await;
    }
    running.relays.abort_all();

    running.watching.abort_all();
    running.core.close(max(plan.end, Instant::now() + SHORTEST_CLOSE)).await;
    tracing::info!(service = %running.core.name, after_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), "stopped");
    failure.map_or(Ok(()), Err)
}

/// Waits until all have ended, and keeps the first error.
async fn finish(parts: &mut JoinSet<Result<()>>, failure: &mut Option<Error>) {
    while let Some(ended) = parts.join_next().await {
        let error = match ended {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error,
            Err(join) if join.is_cancelled() => continue,
            Err(join) => ServiceError::Ended { part: "a part of the service", source: join.into() }.into(),
        };
        tracing::error!("while stopping: {error}");
        failure.get_or_insert(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_fifths_are_for_what_runs() {
        let begun = Instant::now();
        let plan = Plan::new(begun, Duration::from_secs(25));
        assert_eq!(plan.cut - begun, Duration::from_secs(20));
        assert_eq!(plan.relay - begun, Duration::from_millis(23_750));
        assert_eq!(plan.end - begun, Duration::from_secs(25));
    }
}
