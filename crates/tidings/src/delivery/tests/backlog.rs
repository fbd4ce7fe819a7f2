//! When the loop says that what waited for a subscription has come.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, SystemTime},
};

use tidings_core::Message;
use tokio::{sync::Semaphore, time::sleep};

use super::{
    super::Backlog,
    rig::{Rig, Seen, body, message},
    scripted::{Scripted, away},
};
use crate::{Handler, Handlers, handlers::Pause};

const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_secs(1);

fn old(body: &str) -> Message {
    at(body, SystemTime::now() - MINUTE * 9)
}

fn at(body: &str, time: SystemTime) -> Message {
    message("", body).into_builder().time(time).build()
}

fn tells(seen: &Seen<String>) -> Handlers {
    let seen = seen.clone();
    Handlers::new().on_topic("t", handler!([seen] |message: Message| { seen.push(body(&message)) }))
}

#[tokio::test(start_paused = true)]
async fn a_message_that_was_published_later_shows_that_the_backlog_has_come() {
    let (script, seen) = (Scripted::new(), Seen::new());
    let backlog = Backlog::since(SystemTime::now() - MINUTE * 5);
    let mut rig = Rig::new(script.broker());
    rig.backlog = backlog.clone();
    let rig = rig.start(tells(&seen)).await;
    script.deliver([old("1"), at("of a clock that is ahead", SystemTime::now() + MINUTE * 60)]);
    seen.count(2).await;
    assert!(!backlog.is_drained(Duration::ZERO));
    script.deliver([old("3"), message("", "new")]);
    seen.count(4).await;
    assert!(backlog.is_drained(Duration::ZERO));
    rig.stop().await.unwrap();
}

#[test]
fn what_the_broker_keeps_no_more_is_no_backlog() {
    let backlog = Backlog::since(SystemTime::now() - MINUTE);
    assert_eq!([MINUTE, MINUTE * 2, Duration::ZERO].map(|kept| backlog.is_drained(kept)), [true, false, false]);
}

#[tokio::test(start_paused = true)]
async fn a_minute_in_which_nothing_comes_shows_it_too() {
    let (script, seen) = (Scripted::new(), Seen::new());
    let rig = Rig::new(script.broker()).start(tells(&seen)).await;
    for n in 0..3 {
        sleep(MINUTE - MOMENT).await;
        script.deliver([old("1")]);
        seen.count(n + 1).await;
        assert!(!rig.backlog.is_drained(Duration::ZERO));
    }
    sleep(MINUTE + MOMENT).await;
    assert!(rig.backlog.is_drained(Duration::ZERO));
    rig.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_minute_shows_it_while_a_handler_runs_or_the_subscription_is_paused_or_the_broker_is_away_or_fails() {
    let (script, began, may_end, pause) = (Scripted::new(), Seen::new(), Semaphore::const_new(0), Pause::new());
    let may_end: &'static Semaphore = Box::leak(Box::new(may_end));
    let says = began.clone();
    let waits = handler!([says] |message: Message| {
        says.push(body(&message));
        may_end.acquire().await.unwrap().forget();
    });
    let rig = Rig::new(script.broker()).start(Handlers::new().on_topic("t", waits.pausable(&pause).timeout(MINUTE * 9))).await;
    script.deliver([old("1")]);
    began.count(1).await;
    sleep(MINUTE * 2).await;
    assert!(!rig.backlog.is_drained(Duration::ZERO), "a handler runs");

    pause.pause();
    may_end.add_permits(1);
    script.when_settled(1).await;
    sleep(MINUTE * 2).await;
    assert!(!rig.backlog.is_drained(Duration::ZERO), "the subscription is paused");

    script.is_down.store(true, SeqCst);
    pause.resume();
    sleep(MINUTE * 2).await;
    assert!(!rig.backlog.is_drained(Duration::ZERO), "the broker is away");

    script.is_down.store(false, SeqCst);
    for _ in 0..4 {
        script.say(Err(away()));
        sleep(MINUTE / 2).await;
    }
    assert!(!rig.backlog.is_drained(Duration::ZERO), "it cannot be asked");

    sleep(MINUTE + MOMENT).await;
    assert!(rig.backlog.is_drained(Duration::ZERO));
    rig.stop().await.unwrap();
}
