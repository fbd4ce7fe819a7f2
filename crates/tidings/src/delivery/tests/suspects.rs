//! Messages that probably kill the process.

use tidings_core::{Message, Outcome};

use super::{
    rig::{Rig, Seen, body, message},
    scripted::{Asked, Scripted},
};
use crate::Handlers;

/// The default policy explains five deliveries, and twenty more are forgiven.
const FIRST: u32 = 26;

fn begins_and_ends(seen: &Seen<String>) -> Handlers {
    let seen = seen.clone();
    Handlers::new().on_topic("t", move |message: Message| {
        let seen = seen.clone();
        async move {
            seen.push(format!("begin {}", body(&message)));
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            seen.push(format!("end {}", body(&message)));
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_suspect_runs_with_nothing_beside_it_in_the_whole_service() {
    let (scripted, other, seen) = (Scripted::new(), Scripted::new(), Seen::new());
    let mut rig = Rig::new(scripted.broker()).start(begins_and_ends(&seen)).await;
    rig.ground.broker = other.broker();
    let rig = rig.start(begins_and_ends(&seen)).await;
    other.deliver([message("", "beside")]);
    seen.when(|seen| seen == ["begin beside"]).await;
    scripted.deliver_as([message("", "suspect")], |delivery| delivery.deliveries = Some(FIRST));
    scripted.deliver([message("", "behind")]);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    other.deliver([message("", "later")]);
    let seen = seen.when(|seen| seen.len() == 8).await;
    assert_eq!(seen[..4], ["begin beside", "end beside", "begin suspect", "end suspect"]);
    scripted.when_settled(2).await;
    assert!(scripted.settled().iter().all(|(_, outcome)| *outcome == Outcome::Ack));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_that_ended_without_an_outcome_alone_too_is_a_dead_letter() {
    let (scripted, seen) = (Scripted::new(), Seen::new());
    let rig = Rig::new(scripted.broker()).start(begins_and_ends(&seen)).await;
    scripted.deliver_as([message("", "suspect")], |delivery| delivery.deliveries = Some(FIRST + 1));
    assert_eq!(scripted.when_settled(1).await, [(1, Outcome::Reject)]);
    let asked = scripted.asked.all();
    let Asked::Publish(letter) = &asked[0] else { panic!("{asked:?}") };
    assert_eq!(letter.headers().get("tidings-reason"), Some("no-outcome"));
    assert!(seen.all().is_empty(), "it did not run");
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_many_suspects_each_runs_alone_though_all_came_again() {
    let (scripted, seen) = (Scripted::new(), Seen::new());
    let rig = Rig::new(scripted.broker()).start(begins_and_ends(&seen)).await;
    // All were in hand when the process died: the innocent are not to pay for it.
    scripted.deliver_as((0..10).map(|n| message("", &n.to_string())), |delivery| delivery.deliveries = Some(FIRST + 1));
    let settled = scripted.when_settled(10).await;
    let seen = seen.all();
    for pair in seen.chunks(2) {
        assert_eq!(pair[0].strip_prefix("begin "), pair[1].strip_prefix("end "), "{seen:?}");
    }
    let rejected = settled.iter().filter(|(_, outcome)| *outcome == Outcome::Reject).count();
    assert!(rejected <= 1, "only the last one left can be the one: {settled:?}");
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_an_outcome() {
    let scripted = Scripted::new();
    let handlers = Handlers::new().on_topic("t", async |_: Message| Err::<(), _>("no"));
    let rig = Rig::new(scripted.broker()).start(handlers).await;
    scripted.deliver_as([message("", "")], |delivery| {
        (delivery.attempts, delivery.deliveries) = (4, Some(25));
    });
    scripted.when_settled(1).await;
    let asked = scripted.asked.all();
    assert!(matches!(&asked[0], Asked::Publish(letter) if letter.headers().get("tidings-reason") == Some("failed")));
    rig.stop().await.unwrap();
}
