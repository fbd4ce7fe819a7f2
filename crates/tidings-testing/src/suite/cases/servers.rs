//! What a server's end and its return do to its clients. Each case has a server of its own.

use std::time::Instant;

use tidings_core::{BrokerError, Health};

use crate::suite::flow::{Carried, Flow, UNWRITTEN, told_down, until};

use super::prelude::*;

pub(super) async fn a_killed_server_is_told_and_comes_back(place: Place) {
    let mut server = place.server().await;
    let carried = Carried::at(&place, &server.url()).await;
    server.kill();
    told_down(&*carried.broker).await;
    let refused = within(carried.broker.publish(&numbered("t", 2))).await.unwrap_err();
    assert_eq!(refused.failed().len(), 2);
    assert!(refused.failed().iter().all(|(_, why)| why.is_transient()), "{refused}");
    server.restart().await;
    carried.goes_on(&place).await;
}

pub(super) async fn a_server_that_is_absent_is_named(place: Place) {
    let mut server = place.server().await;
    server.kill();
    let Err(error) = place.try_open_at(&server.url()).await else { panic!("a server that is not there was found") };
    assert!(error.is_transient() && matches!(error, BrokerError::Unavailable { .. }), "{error}");
    server.restart().await;
    within(place.open_at(&server.url()).await.close()).await.unwrap();
}

pub(super) async fn a_flush_tells_of_a_connection_that_was_lost(place: Place) {
    let mut server = place.server().await;
    let broker = place.open_at(&server.url()).await;
    let before = within(broker.flush()).await.unwrap();
    assert_eq!(within(broker.flush()).await.unwrap(), before);
    within(broker.publish(&numbered("t", 10))).await.unwrap();
    server.kill();
    until(|| matches!(broker.health(), Health::Down(_))).await;
    server.restart().await;
    let restarted = Instant::now();
    until(|| broker.health() == Health::Up).await;
    assert_ne!(within(broker.flush()).await.unwrap(), before, "the flush is as if nothing had been lost");
    place.figures().back(restarted.elapsed());
}

pub(super) async fn everything_ends_while_the_server_is_away(place: Place) {
    let mut server = place.server().await;
    let broker = place.open_at(&server.url()).await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let waiting = tokio::spawn(async move { reader.fetch.fetch(1).await.map(drop) });
    let other = subscribe(&*broker, "h", "t").await;
    server.kill();
    until(|| matches!(broker.health(), Health::Down(_))).await;
    // Whether it could tell the server is open; that it ends is not.
    let _told = tokio::time::timeout(CLOSED_WITHIN, other.fetch.close()).await.expect("the subscription's close hangs");
    let _told = tokio::time::timeout(CLOSED_WITHIN, broker.close()).await.expect("the close hangs");
    let ended = tokio::time::timeout(CLOSED_WITHIN, waiting).await.expect("a fetch hangs after the close").unwrap();
    assert!(matches!(ended, Err(BrokerError::Closed { .. })), "{ended:?}");
}

pub(super) async fn nothing_is_lost_while_the_server_is_killed(place: Place) {
    const COUNT: usize = 10_000;
    let mut server = place.server().await;
    let mut flow = Flow::start(&place, &server.url(), COUNT).await;
    flow.until_came(COUNT / 2).await;
    server.kill();
    flow.broke(UNWRITTEN);
    server.restart().await;
    flow.healed();
    flow.ends(&place).await;
}
