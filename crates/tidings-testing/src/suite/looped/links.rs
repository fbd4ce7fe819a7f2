//! Handlers over a link that breaks. Each case has a server of its own, and a proxy in front of it.

use std::collections::BTreeMap;

use tidings_core::{Broker, Health};

use crate::suite::{
    flow::{Breaks, ON_ITS_WAY, SOON, until},
    linked::Linked,
    subscription,
};

use super::{letters::Letters, prelude::*};

pub(super) async fn a_dead_letter_waits_for_the_link_and_is_stored_once(place: Place) {
    let link = Linked::to(&place).await;
    let (direct, weak) = (place.open_at(&link.direct()).await, place.open_at(&link.weak()).await);
    let mut letters = Letters::of(&*direct, "g").await;
    let (begun, gate) = (Seen::new(), Arc::new(Semaphore::new(0)));
    let (saw, waits) = (begun.clone(), Arc::clone(&gate));
    let handlers = Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (saw, waits) = (saw.clone(), Arc::clone(&waits));
        async move {
            saw.push(Tried::of(&message, &meta));
            let _permit = waits.acquire().await.unwrap();
            if meta.key().is_some() { Err(Failure::reject("no good")) } else { Ok(()) }
        }
    });
    let instance = Instance::start(Arc::clone(&weak), handlers).await;
    publish(&*direct, &[keyed("t", "k", "bad")]).await;
    begun.count(1).await;
    link.proxy.cut();
    until(|| matches!(weak.health(), Health::Down(_))).await;
    // It fails, and there is nowhere to put it.
    gate.add_permits(1);
    until(|| gate.available_permits() == 1).await;
    link.proxy.heal();
    let healed = Instant::now();
    assert_eq!(letters.take(1).await[0].body(), "bad");
    place.figures().back(healed.elapsed());
    publish(&*direct, &[message("t", "last")]).await;
    begun.until(|seen| seen.iter().any(|tried| tried.body == "last")).await;
    instance.stop().await;
    letters.are_all(&*direct).await;
    assert!(begun.all().iter().map(|tried| tried.body.as_str()).eq(["bad", "last"]), "{:?}", begun.all());
    place.figures().again(0);
}

pub(super) async fn all_is_handled_in_order_over_a_link_that_breaks(place: Place) {
    const COUNT: usize = 2_000;
    const KEYS: usize = 4;
    let link = Linked::to(&place).await;
    let (direct, weak) = (place.open_at(&link.direct()).await, Counted::around(place.open_at(&link.weak()).await));
    let seen = Seen::new();
    let instance = Instance::start(Arc::<Counted>::clone(&weak), takes_a_while(&seen)).await;
    let all: Vec<_> = (0..COUNT).map(|n| keyed("t", &format!("k{}", n % KEYS), &n.to_string())).collect();
    let publishing = tokio::spawn(async move {
        for batch in all.chunks(50) {
            publish(&*direct, batch).await;
        }
    });
    let (mut breaks, mut in_hand) = (Breaks::default(), 0);
    for part in 1..=2 {
        seen.count(COUNT * part / 4).await;
        let before = seen.all().len();
        link.proxy.reset();
        breaks.broke(ON_ITS_WAY);
        breaks.healed();
        let (broken, held) = (Instant::now(), weak.in_hand());
        in_hand += held;
        // One that was not here yet.
        seen.count(before + held + 1).await;
        place.figures().back(broken.elapsed());
    }
    let each = |seen: &Vec<Tried>| seen.iter().map(Tried::number).collect::<std::collections::BTreeSet<_>>().len() == COUNT;
    seen.until(each).await;
    within(publishing).await.unwrap();
    the_leases_have_ended(&*weak).await;
    instance.stop().await;
    let (mut ledger, mut first) = (Ledger::default(), BTreeMap::<_, usize>::new());
    for tried in seen.all() {
        let next = first.entry(tried.key.clone()).or_insert(tried.number() % KEYS);
        assert!(tried.number() <= *next, "{:?}: {} came before {next}", tried.key, tried.number());
        *next = (*next).max(tried.number() + KEYS);
        ledger.note_bodies([tried.body]);
    }
    let settled = weak.settled();
    let unsettled = seen.all().len().saturating_sub(settled.len());
    assert!(unsettled <= in_hand, "{unsettled} were never settled, and {in_hand} were in hand");
    ledger.check(&place, &numbers(0, COUNT), breaks.explain(&settled) + unsettled);
}

/// A handler that is no faster than a few hundred a second for each key: what is settled around a break is a part of all.
fn takes_a_while(seen: &Seen<Tried>) -> Handlers {
    let seen = seen.clone();
    Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let seen = seen.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            seen.push(Tried::of(&message, &meta));
        }
    })
}

/// What the server did not hear of comes when its lease has ended: that it does not is to be seen no sooner.
async fn the_leases_have_ended(broker: &dyn Broker) {
    let (_other, settle) = within(broker.subscribe(subscription("other", "nobodys"))).await.unwrap();
    tokio::time::sleep(settle.lease().unwrap_or_default() + SOON).await;
}
