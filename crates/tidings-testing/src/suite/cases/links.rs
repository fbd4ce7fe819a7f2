//! What a bad link does: cut, silent, slow, reset. Each case has a server of its own, and a proxy in front of it.

use std::{collections::BTreeMap, time::Instant};

use tidings_core::{BrokerError, Health};

use crate::suite::{
    flow::{Carried, Flow, ON_ITS_WAY, told_down, until},
    linked::Linked,
};

use super::prelude::*;

pub(super) async fn a_cut_link_is_told_and_comes_back(place: Place) {
    let link = Linked::to(&place).await;
    let carried = Carried::at(&place, &link.weak()).await;
    link.proxy.cut();
    told_down(&*carried.broker).await;
    let refused = within(carried.broker.publish(&numbered("t", 2))).await.unwrap_err();
    assert!(refused.failed().len() == 2 && refused.failed().iter().all(|(_, why)| why.is_transient()), "{refused}");
    let Err(refused) = within(carried.broker.subscribe(subscription("h", "t"))).await else {
        panic!("a subscription that no server knows of was made");
    };
    assert!(refused.is_transient(), "{refused}");
    link.proxy.heal();
    carried.goes_on(&place).await;
}

pub(super) async fn a_link_that_stands_still_is_told_and_goes_on(place: Place) {
    let link = Linked::to(&place).await;
    let carried = Carried::at(&place, &link.weak()).await;
    // Nothing is lost and nothing is closed: it is only that nothing arrives.
    link.proxy.throttle(0);
    told_down(&*carried.broker).await;
    link.proxy.heal();
    carried.goes_on(&place).await;
}

pub(super) async fn a_half_open_link_is_told_and_given_up(place: Place) {
    let link = Linked::to(&place).await;
    let carried = Carried::at(&place, &link.weak()).await;
    let before = link.proxy.connections();
    link.proxy.half_open();
    told_down(&*carried.broker).await;
    // Nobody closes it: who waited for that would wait for ever.
    until(|| link.proxy.connections() > before).await;
    link.proxy.heal();
    carried.goes_on(&place).await;
}

pub(super) async fn nothing_is_lost_over_a_link_that_is_cut(place: Place) {
    const COUNT: usize = 4_000;
    let link = Linked::to(&place).await;
    let mut flow = Flow::start(&place, &link.weak(), COUNT).await;
    for part in 1..=2 {
        flow.until_came(COUNT * part / 4).await;
        link.proxy.cut();
        flow.broke(ON_ITS_WAY);
        if part == 2 {
            flow.until_down().await;
        }
        link.proxy.heal();
        flow.healed();
    }
    flow.ends(&place).await;
}

pub(super) async fn nothing_is_lost_over_a_half_open_link(place: Place) {
    const COUNT: usize = 4_000;
    let link = Linked::to(&place).await;
    let mut flow = Flow::start(&place, &link.weak(), COUNT).await;
    flow.until_came(COUNT / 4).await;
    link.proxy.half_open();
    flow.broke(ON_ITS_WAY);
    flow.until_down().await;
    link.proxy.heal();
    flow.healed();
    flow.ends(&place).await;
}

pub(super) async fn a_slow_link_loses_nothing_and_keeps_the_order_of_a_key(place: Place) {
    const KEYS: usize = 4;
    const EACH: usize = 60;
    let link = Linked::to(&place).await;
    let (publisher, other) = (place.open_at(&link.weak()).await, place.open_at(&link.weak()).await);
    let mut reader = subscribe(&*other, "g", "t").await;
    link.proxy.delay(Duration::from_millis(20));
    link.proxy.throttle(64 * 1024);
    let publishing = tokio::spawn(async move {
        let all: Vec<_> = (0..KEYS * EACH).map(|n| keyed("t", &format!("k{}", n % KEYS), &n.to_string())).collect();
        for batch in all.chunks(20) {
            publish(&*publisher, batch).await;
        }
    });
    let (mut came, mut by_key) = (Ledger::default(), BTreeMap::<String, Vec<usize>>::new());
    while came.different() < KEYS * EACH {
        let next = reader.next(16).await;
        reader.end(&next, Outcome::Ack).await;
        came.note(&next);
        for delivery in &next {
            by_key.entry(delivery.message.key().unwrap().to_string()).or_default().push(body(delivery).parse().unwrap());
        }
    }
    within(publishing).await.unwrap();
    assert!(by_key.values().all(|numbers| numbers.is_sorted()), "{by_key:?}");
    came.check(&place, &numbers(0, KEYS * EACH), 0);
}

pub(super) async fn the_order_of_a_key_holds_over_a_reset_connection(place: Place) {
    let link = Linked::to(&place).await;
    let (direct, weak) = (place.open_at(&link.direct()).await, place.open_at(&link.weak()).await);
    let mut reader = subscribe(&*weak, "g", "t").await;
    let batch = |from, to| (from..to).map(|n: usize| keyed("t", "k", &n.to_string())).collect::<Vec<_>>();
    publish(&*direct, &batch(0, 6)).await;
    let first = reader.take(1).await;
    reader.end(&first, Outcome::Ack).await;
    let _in_hand = reader.take(1).await;
    // Some may be on their way, and are the server's again; newer ones must not pass them.
    link.proxy.reset();
    let reset = Instant::now();
    publish(&*direct, &batch(6, 8)).await;
    let (mut came, mut back) = (Vec::<usize>::new(), None);
    while came.last() != Some(&7) {
        let Ok(Fetched::Deliveries(next)) = within(reader.fetch.fetch(10)).await else { continue };
        let outcomes: Vec<_> = next.iter().map(|delivery| (delivery.receipt, Outcome::Ack)).collect();
        let _settled = within(reader.settle.settle(&outcomes)).await;
        came.extend(next.iter().map(|delivery| body(delivery).parse::<usize>().unwrap()));
        back.get_or_insert_with(|| reset.elapsed());
    }
    // The two that were in hand may be settled, or not.
    assert!(came.is_sorted() && came.iter().copied().filter(|n| *n >= 2).eq(2..8), "{came:?}");
    place.figures().back(back.unwrap_or_default());
    place.figures().again(came.iter().filter(|n| **n < 2).count());
}

pub(super) async fn a_flush_tells_of_a_connection_that_was_cut_after_a_publish(place: Place) {
    let link = Linked::to(&place).await;
    let broker = place.open_at(&link.weak()).await;
    let before = within(broker.flush()).await.unwrap();
    within(broker.publish(&numbered("t", 10))).await.unwrap();
    link.proxy.cut();
    let at_once = within(broker.flush()).await;
    assert!(at_once.as_ref().is_ok_and(|link| *link != before) || at_once.is_err(), "nothing was told: {at_once:?}");
    until(|| matches!(broker.health(), Health::Down(_))).await;
    assert!(within(broker.flush()).await.unwrap_err().is_transient());
    link.proxy.heal();
    let healed = Instant::now();
    until(|| broker.health() == Health::Up).await;
    assert_ne!(within(broker.flush()).await.unwrap(), before, "the flush is as if nothing had been lost");
    place.figures().back(healed.elapsed());
}

pub(super) async fn everything_ends_while_the_link_is_half_open(place: Place) {
    let link = Linked::to(&place).await;
    let broker = place.open_at(&link.weak()).await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let waiting = tokio::spawn(async move { reader.fetch.fetch(1).await.map(drop) });
    let other = subscribe(&*broker, "h", "t").await;
    let (publisher, batch) = (Arc::clone(&broker), numbered("t", 10));
    link.proxy.half_open();
    let publishing = tokio::spawn(async move { publisher.publish(&batch).await.map(drop) });
    // Whether it could tell the server is open; that it ends is not.
    let _told = tokio::time::timeout(CLOSED_WITHIN, other.fetch.close()).await.expect("the subscription's close hangs");
    let _told = tokio::time::timeout(CLOSED_WITHIN, broker.close()).await.expect("the close hangs");
    let ended = tokio::time::timeout(CLOSED_WITHIN, waiting).await.expect("a fetch hangs after the close").unwrap();
    assert!(matches!(ended, Err(BrokerError::Closed { .. })), "{ended:?}");
    let _ended = tokio::time::timeout(CLOSED_WITHIN, publishing).await.expect("a publish hangs after the close").unwrap();
}
