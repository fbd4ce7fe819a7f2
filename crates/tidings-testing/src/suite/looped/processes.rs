//! An instance whose process is killed, and what the next one finds.

use tidings_core::Broker;

use crate::suite::victim::{Role, Victim, say};

use super::{prelude::*, stops::batch};

/// All are in hand at once.
const COUNT: usize = 200;
const SETTLED: usize = 50;

/// The victim: handles some, which are settled, begins others, and says the numbers of the first.
pub(crate) async fn handle_some(broker: &Arc<dyn Broker>) {
    let (broker, done, gate) = (Counted::around(Arc::clone(broker)), Seen::new(), Arc::new(Semaphore::new(SETTLED)));
    let saw = done.clone();
    let handlers = Handlers::new().on_topic("t", move |message: Message, meta: Meta| {
        let (saw, gate) = (saw.clone(), Arc::clone(&gate));
        async move {
            gate.acquire().await.unwrap().forget();
            saw.push(Tried::of(&message, &meta));
        }
    });
    let _instance = Instance::start(Arc::<Counted>::clone(&broker), handlers).await;
    say("subscribed");
    broker.until_settled(SETTLED).await;
    broker.until_in_hand(|count| count == COUNT - SETTLED).await;
    // A settlement may be on its way still; what goes behind it and is acknowledged shows that it has arrived.
    publish(&*broker, &[message("behind", "")]).await;
    say(&done.all().iter().map(|tried| tried.body.as_str()).collect::<Vec<_>>().join(" "));
    std::future::pending().await
}

pub(super) async fn what_a_killed_instance_had_is_handled_by_the_next(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let mut victim = Victim::start(Role::Handle, &place);
    assert_eq!(victim.says().await, "subscribed");
    publish(&*broker, &batch(COUNT)).await;
    let settled: Vec<_> = victim.says().await.split(' ').map(ToOwned::to_owned).collect();
    victim.kill();
    let killed = Instant::now();
    let next = Instance::start(Arc::clone(&broker), tells(&seen, |_| Ok(()))).await;
    seen.count(1).await;
    place.figures().back(killed.elapsed());
    seen.count(COUNT - SETTLED).await;
    publish(&*broker, &[message("t", "last")]).await;
    let all = seen.until(|seen| seen.iter().any(|tried| tried.body == "last")).await;
    next.stop().await;
    assert!(all.iter().all(|tried| tried.attempt == 1), "a kill is no attempt: {all:?}");
    let mut ledger = Ledger::default();
    ledger.note_bodies(settled.into_iter().chain(all.into_iter().map(|tried| tried.body)));
    let expected: Vec<_> = numbers(0, COUNT).into_iter().chain(["last".to_owned()]).collect();
    ledger.check(&place, &expected, 0);
}
