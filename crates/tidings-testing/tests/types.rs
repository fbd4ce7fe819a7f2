//! Several events on one topic, told apart by their type.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may stop at the first surprise")]

use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tidings::{Event, Handler, Handlers, Message, Source, State};
use tidings_testing::TestService;

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(topic = "user.changed", type = "user.renamed", key = "id", header(id = "id"))]
struct Renamed {
    id: String,
    name: String,
}

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(topic = "user.changed", type = "user.moved", key = "id")]
struct Moved {
    id: String,
    city: String,
}

#[derive(Debug, Clone, PartialEq, Event)]
#[event(topic = "user.changed", one_of)]
enum Changed {
    Renamed(Renamed),
    Moved(Moved),
}

fn renamed() -> Renamed {
    Renamed { id: "7".into(), name: "Ada".into() }
}

fn moved() -> Moved {
    Moved { id: "8".into(), city: "Turin".into() }
}

/// A message of this type, with a body that fits none.
fn of_type(said: &'static str) -> Message {
    let body = r#"{"id":"9"}"#.into();
    Message::builder("user.changed".parse().unwrap(), Source::new("/x").unwrap(), body).event_type(said).build()
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn push(&self, what: impl std::fmt::Debug) {
        self.0.lock().unwrap().push(format!("{what:?}"));
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn rename(event: Renamed, State(seen): State<Seen>) {
    seen.push(event);
}

async fn relocate(event: Moved, State(seen): State<Seen>) {
    seen.push(event);
}

#[test]
fn an_enum_is_whichever_event_it_holds() {
    assert_eq!((Changed::TOPIC, Changed::TYPES), ("user.changed", &["user.renamed", "user.moved"][..]));
    let one = Changed::Renamed(renamed());
    assert_eq!(
        (one.event_type(), one.key().as_deref(), one.encode().unwrap()),
        ("user.renamed", Some("7"), renamed().encode().unwrap())
    );
    let mut headers = tidings::Headers::new();
    one.headers(&mut headers).unwrap();
    assert_eq!(headers.get("id"), Some("7"));
}

#[tokio::test]
async fn a_handler_of_an_enum_gets_each_of_its_events_and_no_others() {
    let seen = Seen::default();
    let handlers = Handlers::new().on(async |event: Changed, State(seen): State<Seen>| seen.push(event)).with_state(seen.clone());
    let service = TestService::start(handlers).await.unwrap();
    service.publish(&Changed::Renamed(renamed())).await.unwrap();
    service.publish_message(&of_type("user.deleted")).await.unwrap();
    service.publish(&moved()).await.unwrap();
    assert_eq!(service.handled::<Moved>().await.unwrap(), moved());
    assert_eq!(service.handled::<Changed>().await.unwrap(), Changed::Renamed(renamed()));
    assert_eq!(seen.all(), [format!("{:?}", Changed::Renamed(renamed())), format!("{:?}", Changed::Moved(moved()))]);
    assert!(service.dead_letters().is_empty());

    // A body that does not fit its type, and one that does not say its type.
    for said in ["user.moved", "user.changed"] {
        service.publish_message(&of_type(said)).await.unwrap();
        let letter = service.dead_letter::<Changed>().await.unwrap();
        assert_eq!((letter.reason(), letter.attempts()), ("rejected", 1));
    }
}

#[tokio::test]
async fn handlers_of_types_of_one_topic_are_one_subscription_and_each_gets_its_own() {
    let seen = Seen::default();
    let service = TestService::start(Handlers::new().on(rename).on(relocate).with_state(seen.clone())).await.unwrap();
    service.publish(&renamed()).await.unwrap();
    service.publish_message(&of_type("user.deleted")).await.unwrap();
    service.publish(&moved()).await.unwrap();
    assert_eq!(service.handled::<Renamed>().await.unwrap(), renamed());
    assert_eq!(service.handled::<Moved>().await.unwrap(), moved());
    assert_eq!(seen.all(), [format!("{:?}", renamed()), format!("{:?}", moved())]);
    service.publish_message(&of_type("user.changed")).await.unwrap();
    assert!(service.dead_letter::<Renamed>().await.unwrap().error().contains("its type is none of those"));
}

#[tokio::test]
async fn a_handler_alone_on_its_topic_passes_over_what_is_of_another_type() {
    let seen = Seen::default();
    let service = TestService::start(Handlers::new().on(rename).with_state(seen.clone())).await.unwrap();
    service.publish(&moved()).await.unwrap();
    service.publish(&renamed()).await.unwrap();
    assert_eq!(service.handled::<Renamed>().await.unwrap(), renamed());
    assert_eq!(seen.all(), [format!("{:?}", renamed())]);
    assert!(service.dead_letters().is_empty());
}

#[tokio::test]
async fn handlers_that_cannot_be_one_subscription_are_refused() {
    let refused = async |handlers: Handlers<Seen>| {
        let handlers: Handlers = handlers.with_state(Seen::default());
        TestService::start(handlers).await.map(drop).unwrap_err().to_string()
    };
    let error = refused(Handlers::new().on(rename).on(relocate.concurrency(1))).await;
    assert!(error.contains("rename") && error.contains("relocate") && error.contains("the same options"), "{error}");
    let both = async |_: Changed| {};
    assert!(refused(Handlers::new().on(rename).on(both)).await.contains("both take user.changed"));
    let all = async |_: Message| {};
    assert!(refused(Handlers::new().on(rename).on_topic("user.changed", all)).await.contains("both take user.changed"));
    TestService::start(Handlers::new().on(rename).on(both.group("other")).with_state(Seen::default())).await.unwrap();
}
