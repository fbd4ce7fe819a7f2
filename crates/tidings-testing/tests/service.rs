//! What a test of handlers may rely on.
#![cfg(feature = "service")]
#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::{sync::Arc, time::Duration};

use tidings::{
    Event, Failure, Handler, Handlers, Message, Meta, Order, Publish, PublishError, Publisher, Reject, Retry, Source, State,
    Topic,
};
use tidings_testing::{
    TestService,
    faults::Faulty,
    service::{NotSeen, Outcome},
};

#[derive(Debug, Clone, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.created", key = "id")]
struct UserCreated {
    id: u32,
    name: String,
}

#[derive(Debug, PartialEq, Event, serde::Serialize, serde::Deserialize)]
#[event(topic = "user.welcomed", key = "id")]
struct UserWelcomed {
    id: u32,
}

fn user(id: u32, name: &str) -> UserCreated {
    UserCreated { id, name: name.to_owned() }
}

#[derive(Clone)]
struct Greeting(&'static str);

async fn welcome(user: UserCreated, State(greeting): State<Greeting>, publisher: Publisher) -> Result<(), Failure> {
    if user.name == greeting.0 {
        return Err("a name that is a greeting").reject();
    }
    publisher.publish(&UserWelcomed { id: user.id }).await?;
    Ok(())
}

async fn start() -> TestService {
    TestService::start(Handlers::new().on(welcome).with_state(Greeting("hello"))).await.unwrap()
}

#[tokio::test]
async fn what_is_published_is_handled_and_what_the_handler_published_is_seen() {
    let service = start().await;
    for id in 1..=2 {
        service.publish(&user(id, "Ann")).await.unwrap();
    }
    assert_eq!(service.handled::<UserCreated>().await.unwrap().id, 1);
    assert_eq!(service.handled::<UserCreated>().await.unwrap().id, 2);
    assert_eq!(service.published::<UserWelcomed>().unwrap(), [1, 2].map(|id| UserWelcomed { id }));
    assert!(service.published::<UserCreated>().unwrap().is_empty(), "the test's own events are not the handlers'");
    assert!(service.dead_letters().is_empty());
    service.stop().await.unwrap();
}

#[tokio::test]
async fn a_rejected_event_is_among_the_dead_letters_and_the_next_one_is_handled() {
    let service = start().await;
    service.publish(&user(1, "hello")).await.unwrap();
    service.publish(&user(2, "Ann")).await.unwrap();
    assert_eq!(service.handled::<UserCreated>().await.unwrap().id, 2);
    let letter = service.dead_letter::<UserCreated>().await.unwrap();
    assert_eq!((letter.reason(), letter.error(), letter.attempts()), ("rejected", "a name that is a greeting", 1));
    assert_eq!((letter.event::<UserCreated>().unwrap().id, letter.group()), (1, "test"));
    assert_eq!(service.dead_letters(), [letter]);
}

#[tokio::test]
async fn attempts_are_told_one_by_one_and_a_days_waits_pass_at_once() {
    async fn third_time(_: UserCreated, meta: Meta) -> Result<(), Failure> {
        if meta.attempt() < 3 { Err("not yet".into()) } else { Ok(()) }
    }
    let hours = Duration::from_secs(3600);
    let patient = Retry::exponential(hours, 12 * hours).for_at_most(48 * hours);
    let handlers = Handlers::new().on(third_time.retry(patient).order(Order::None));
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&user(1, "Ann")).await.unwrap();
    service.handled::<UserCreated>().await.unwrap();
    let attempts = service.attempts::<UserCreated>();
    assert_eq!(attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(matches!(&attempts[0].outcome, Outcome::Failed { error, .. } if error == "not yet"));
    assert_eq!(attempts[2].outcome, Outcome::Handled);
    let Outcome::Failed { wait, .. } = attempts[0].outcome else { panic!() };
    let passed = attempts[1].at - attempts[0].at;
    assert!(passed >= wait && passed < wait + Duration::from_secs(10), "{passed:?} after a wait of {wait:?}");
}

#[tokio::test]
async fn a_handler_that_hangs_is_cut_when_the_test_moves_the_clock() {
    async fn hangs_once(_: UserCreated, meta: Meta) {
        if meta.attempt() == 1 {
            std::future::pending::<()>().await;
        }
    }
    let service = TestService::start(Handlers::new().on(hangs_once.timeout(Duration::from_secs(3600)))).await.unwrap();
    service.publish(&user(1, "Ann")).await.unwrap();
    let patient = service.within(Duration::from_millis(50));
    // While a handler runs the clock stays where it is.
    patient.handled::<UserCreated>().await.unwrap_err();
    assert!(patient.attempts::<UserCreated>().is_empty() && patient.elapsed() < Duration::from_secs(3600));
    patient.advance(Duration::from_secs(3600));
    let service = patient.within(TestService::PATIENCE);
    service.handled::<UserCreated>().await.unwrap();
    assert!(matches!(&service.attempts::<UserCreated>()[0].outcome, Outcome::Failed { error, .. } if error.contains("3600s")));
}

#[tokio::test]
async fn the_clock_waits_for_what_a_handler_does_elsewhere() {
    /// Works on a thread of its own, as SQLite does.
    async fn slow(_: UserCreated, meta: Meta) -> Result<(), Failure> {
        tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(20))).await?;
        if meta.attempt() < 5 { Err("not yet".into()) } else { Ok(()) }
    }
    let hour = Duration::from_secs(3600);
    let retry = Retry::exponential(hour, hour).for_at_most(1_000 * hour);
    let handlers = Handlers::new().on(slow.retry(retry).order(Order::None).timeout(Duration::from_secs(10)));
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&user(1, "Ann")).await.unwrap();
    service.handled::<UserCreated>().await.unwrap();
    assert_eq!(service.attempts::<UserCreated>().len(), 5);
}

#[tokio::test]
async fn what_does_not_happen_is_told_with_what_did() {
    async fn never(_: UserCreated) -> Result<(), Failure> {
        Err("the mail server is away".into())
    }
    let service = TestService::start(Handlers::new().on(never)).await.unwrap().within(Duration::from_secs(1));
    let error = service.handled::<UserCreated>().await.unwrap_err();
    assert!(format!("{error:?}").contains("is there a handler of its topic?"), "{error:?}");
    service.publish(&user(1, "Ann")).await.unwrap();
    let error = service.handled::<UserCreated>().await.unwrap_err();
    assert!(matches!(&error, NotSeen::InTime { attempts, .. } if attempts.len() == 5));
    let said = format!("{error:?}");
    assert!(said.contains("attempt 5 failed (the mail server is away), given up"), "{said}");
}

#[tokio::test]
async fn a_body_that_is_no_such_event_is_a_dead_letter() {
    let service = start().await;
    let topic = Topic::new("user.created").unwrap();
    let raw = Message::builder(topic, Source::new("/elsewhere").unwrap(), "{".into()).build();
    service.publish_message(&raw).await.unwrap();
    let letter = service.dead_letter::<UserCreated>().await.unwrap();
    assert_eq!((letter.reason(), letter.message().body()), ("rejected", raw.body()));
    assert!(letter.error().contains("line 1"), "{}", letter.error());
    assert!(letter.event::<UserCreated>().is_err());
}

#[tokio::test]
async fn handlers_that_cannot_be_registered_are_an_error_at_the_start() {
    async fn other(_: UserCreated) {}
    async fn another(_: UserCreated) {}
    let error = TestService::start(Handlers::new().on(other).on(another)).await.unwrap_err();
    assert!(error.to_string().contains(".group("), "{error}");
}

#[tokio::test]
async fn each_group_handles_the_event() {
    async fn other(_: UserCreated) {}
    let handlers = Handlers::new().on(other.group("other")).merge(Handlers::new().on(other));
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&user(1, "Ann")).await.unwrap();
    service.handled::<UserCreated>().await.unwrap();
    service.handled::<UserCreated>().await.unwrap();
    let mut groups: Vec<_> = service.attempts::<UserCreated>().into_iter().map(|attempt| attempt.group).collect();
    groups.sort();
    assert_eq!(groups, ["other", "test"]);
}

#[tokio::test]
async fn a_delayed_event_comes_when_the_clock_is_moved_so_far() {
    const HOUR: Duration = Duration::from_secs(3_600);
    async fn remind(user: UserCreated) -> Publish<UserWelcomed> {
        Publish::one(UserWelcomed { id: user.id }).delay(HOUR)
    }
    let handlers = Handlers::new().on(remind).on(async |_: UserWelcomed| {});
    let service = TestService::start_on(handlers, |broker| Arc::new(Faulty::around(broker))).await.unwrap();
    service.publish(&user(7, "Ann")).await.unwrap();
    service.handled::<UserCreated>().await.unwrap();
    assert_eq!(service.published::<UserWelcomed>().unwrap().len(), 1);
    service.advance(HOUR / 2);
    service.send(&Publish::one(user(8, "Ben")).delay(HOUR / 4)).await.unwrap();
    service.advance(HOUR / 4);
    assert_eq!(service.handled::<UserCreated>().await.unwrap().id, 8);
    assert!(service.attempts::<UserWelcomed>().is_empty());
    service.advance(HOUR / 4);
    assert_eq!(service.handled::<UserWelcomed>().await.unwrap(), UserWelcomed { id: 7 });
    let refused = service.send(&Publish::one(user(9, "Cy")).delay(HOUR * 24 * 8)).await.unwrap_err();
    assert!(matches!(refused, PublishError::DelayTooLong { .. }), "{refused}");
}

#[tokio::test]
async fn what_a_handler_answers_goes_out_in_every_form() {
    async fn maybe(user: UserCreated) -> Option<Publish<UserWelcomed>> {
        (user.id > 1).then(|| Publish::one(UserWelcomed { id: user.id }))
    }
    async fn both(user: UserCreated) -> (Publish<UserWelcomed>, Option<Publish<UserWelcomed>>) {
        (Publish::many([UserWelcomed { id: user.id + 10 }, UserWelcomed { id: user.id + 20 }]), None)
    }
    async fn nested(
        user: UserCreated,
    ) -> Result<((Publish<UserWelcomed>, Publish<UserWelcomed>), Publish<UserWelcomed>), Failure> {
        let one = |more| Publish::one(UserWelcomed { id: user.id + more });
        Ok(((one(30), one(40)), one(50)))
    }
    let handlers = Handlers::new().on(maybe).on(both.group("both")).on(nested.group("nested"));
    let service = TestService::start(handlers).await.unwrap();
    for id in [1, 2] {
        service.publish(&UserCreated { id, name: "Ann".into() }).await.unwrap();
    }
    for _ in 0..6 {
        service.handled::<UserCreated>().await.unwrap();
    }
    let mut ids: Vec<_> = service.published::<UserWelcomed>().unwrap().into_iter().map(|welcomed| welcomed.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [2, 11, 12, 21, 22, 31, 32, 41, 42, 51, 52]);
}
