//! A subscription that is paused and goes on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidings::{Event, Failure, Handler, Handlers, Retry, State, handlers::Pause};
use tidings_testing::{TestService, servers::eventually};
use tokio::sync::Semaphore;

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(topic = "user.created", key = "id")]
struct Created {
    id: u32,
}

const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a permit; the first attempt at an event fails.
async fn slow(event: Created, meta: tidings::Meta, State(permits): State<Arc<Semaphore>>) -> Result<(), Failure> {
    permits.acquire().await?.forget();
    if meta.attempt() == 1 && event.id == 0 { Err("again".into()) } else { Ok(()) }
}

async fn other(_: Created) {}

#[tokio::test]
async fn what_is_in_hand_is_finished_nothing_more_comes_and_then_all_of_it() {
    let (pause, permits) = (Pause::new(), Arc::new(Semaphore::new(0)));
    let retry = Retry::exponential(Duration::from_millis(1), Duration::from_millis(2));
    let handlers =
        Handlers::new().on(slow.pausable(&pause).retry(retry)).on(other.group("other")).with_state(Arc::clone(&permits));
    let service = TestService::start(handlers).await.unwrap().within(PATIENCE);
    let attempts = |group: &str| service.attempts::<Created>().iter().filter(|attempt| attempt.group == group).count();

    service.publish(&Created { id: 0 }).await.unwrap();
    eventually(PATIENCE, async || attempts("other") == 1).await;
    pause.pause();
    permits.add_permits(100);
    // Its second attempt too.
    eventually(PATIENCE, async || attempts("test") == 2).await;
    for id in 1..20 {
        service.publish(&Created { id }).await.unwrap();
    }
    eventually(PATIENCE, async || attempts("other") == 20).await;
    assert_eq!(attempts("test"), 2, "it went on though it was paused");
    pause.resume();
    eventually(PATIENCE, async || attempts("test") == 21).await;

    // Paused, it ends in order all the same.
    pause.pause();
    service.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_is_paused_at_the_start_begins_when_it_goes_on() {
    let pause = Pause::new();
    pause.pause();
    let service = TestService::start(Handlers::new().on(other).pausable(&pause)).await.unwrap().within(PATIENCE);
    service.publish(&Created { id: 1 }).await.unwrap();
    assert!(service.attempts::<Created>().is_empty());
    pause.resume();
    assert_eq!(service.handled::<Created>().await.unwrap(), Created { id: 1 });
}
