//! Handlers over a link that breaks. Each case has a server of its own, and a proxy in front of it.

use std::collections::BTreeMap;

use tidings_core::Health;

use crate::suite::{flow::until, linked::Linked};

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
    const KEYS: usize = 10;
    let link = Linked::to(&place).await;
    let (direct, weak) = (place.open_at(&link.direct()).await, Counted::around(place.open_at(&link.weak()).await));
    let seen = Seen::new();
    let instance = Instance::start(Arc::<Counted>::clone(&weak), tells(&seen, |_| Ok(()))).await;
    let all: Vec<_> = (0..COUNT).map(|n| keyed("t", &format!("k{}", n % KEYS), &n.to_string())).collect();
    let publishing = tokio::spawn(async move {
        for batch in all.chunks(50) {
            publish(&*direct, batch).await;
        }
    });
    let mut explained = 0;
    for part in 1..=2 {
        seen.count(COUNT * part / 4).await;
        let before = seen.all().len();
        link.proxy.reset();
        let (broken, in_hand) = (Instant::now(), weak.in_hand());
        // What was settled a moment ago the server may not have heard of.
        explained += in_hand + before - COUNT * (part - 1) / 4;
        // One that was not here yet.
        seen.count(before + in_hand + 1).await;
        place.figures().back(broken.elapsed());
    }
    let each = |seen: &Vec<Tried>| seen.iter().map(Tried::number).collect::<std::collections::BTreeSet<_>>().len() == COUNT;
    seen.until(each).await;
    within(publishing).await.unwrap();
    instance.stop().await;
    let (mut ledger, mut first) = (Ledger::default(), BTreeMap::<_, usize>::new());
    for tried in seen.all() {
        let next = first.entry(tried.key.clone()).or_insert(tried.number() % KEYS);
        assert!(tried.number() <= *next, "{:?}: {} came before {next}", tried.key, tried.number());
        *next = (*next).max(tried.number() + KEYS);
        ledger.note_bodies([tried.body]);
    }
    ledger.check(&place, &numbers(0, COUNT), explained);
}
