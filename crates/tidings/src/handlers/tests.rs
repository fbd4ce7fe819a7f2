//! From a message to its outcome, through everything of this room: what the delivery loop sees of a handler.
#![cfg(feature = "memory")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidings_core::{
    Broker, GroupName, Headers, Key, Members, Message, Source, Start, Subscription, Topic, TopicPattern, TraceContext,
};

use super::{
    Context, Delivered, Dispatch, Early, Extract, Failure, Handler, Handlers, InvalidHandlers, Meta, Order, Place, Registration,
    Reject, Retry, State, SubscriptionName, Verdict,
    dispatch::{Slot, empty_slot},
};
use crate::{Event, Publisher};

mod layers;
mod registering;

#[derive(Debug, Clone, PartialEq, Event, Serialize, Deserialize)]
#[event(topic = "user.created", key = "id")]
struct UserCreated {
    id: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the server said {0}")]
struct SmtpError(u16);

fn message(body: &'static str) -> Message {
    let (topic, source) = (Topic::new("user.created").unwrap(), Source::new("/users").unwrap());
    Message::builder(topic, source, body.into()).build()
}

fn broker() -> Arc<tidings_memory::Memory> {
    Arc::new(tidings_memory::Memory::private(tidings_memory::Settings::default()))
}

fn group() -> GroupName {
    GroupName::new("email").unwrap()
}

fn context_at(broker: Arc<dyn Broker>, message: Message, attempt: u32) -> Context {
    let subscription = SubscriptionName { group: group(), pattern: TopicPattern::new("user.>").unwrap() };
    let publisher = Publisher::new(broker, Source::new("/email").unwrap());
    Context::new(Arc::new(Delivered { message, place: Arc::new(Place::new(subscription, publisher)) }), attempt)
}

fn context(message: Message) -> Context {
    context_at(broker(), message, 1)
}

fn registered(handlers: Handlers) -> Vec<Registration> {
    handlers.registrations(&group()).unwrap()
}

fn only(handlers: Handlers) -> Arc<dyn Dispatch> {
    registered(handlers).remove(0).handler
}

async fn outcome(handlers: Handlers, context: Context) -> Result<(), Failure> {
    let mut slot = empty_slot();
    only(handlers).dispatch(context, &mut slot);
    slot.get_pin().await
}

/// What a handler saw, for the test to look at afterwards.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn push(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn a_handler_gets_its_event_its_state_and_what_came_with_it() {
    let seen = Seen::default();
    let handlers = Handlers::new().on(async |user: UserCreated, State(seen): State<Seen>, meta: Meta| {
        let tenant = meta.headers().get("tenant").unwrap_or("none").to_owned();
        let key = meta.key().map(ToString::to_string);
        seen.push(format!("{} {} {} {} {key:?} {tenant}", user.id, meta.source(), meta.topic(), meta.attempt()));
    });
    let mut headers = Headers::new();
    headers.append("tenant", "acme").unwrap();
    let message = message(r#"{"id":7}"#).into_builder().headers(headers).key(Key::new("7").unwrap()).build();
    outcome(handlers.with_state(seen.clone()), context_at(broker(), message, 3)).await.unwrap();
    assert_eq!(seen.all(), [r#"7 /users user.created 3 Some("7") acme"#]);
}

#[tokio::test]
async fn a_handler_of_a_pattern_gets_the_message_whatever_is_in_it() {
    let seen = Seen::default();
    let handlers = Handlers::new().on_topic("user.>", async |message: Message, State(seen): State<Seen>| {
        seen.push(format!("{} {:?}", message.topic(), message.body()));
    });
    outcome(handlers.with_state(seen.clone()), context(message("not json"))).await.unwrap();
    assert_eq!(seen.all(), [r#"user.created b"not json""#]);
}

#[tokio::test]
async fn a_body_that_cannot_be_decoded_is_rejected_with_the_reason_and_without_a_call() {
    let handlers = Handlers::new().on(async |_: UserCreated| -> Result<(), Failure> { panic!("called without an event") });
    let failure = outcome(handlers, context(message(r#"{"id":"hunter2"}"#))).await.unwrap_err();
    assert_eq!(failure.verdict(), Verdict::Reject);
    let said = failure.to_string();
    assert!(said.starts_with("the body is not an event of user.created: not the expected JSON at line 1"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn what_a_handler_returns_says_what_follows() {
    async fn verdict<E: Into<Failure> + Send + 'static>(error: fn() -> E) -> (Verdict, String) {
        let handlers = Handlers::new().on(move |_: UserCreated| async move { Err::<(), E>(error()) });
        let failure = outcome(handlers, context(message(r#"{"id":7}"#))).await.unwrap_err();
        (failure.verdict(), failure.to_string())
    }
    let soon = Duration::from_secs(5);
    assert_eq!(verdict(|| SmtpError(451)).await, (Verdict::Retry, "the server said 451".into()));
    assert_eq!(verdict(|| "text").await, (Verdict::Retry, "text".into()));
    let in_anyhow = || anyhow::Error::new(SmtpError(451)).context("mailing");
    assert_eq!(verdict(in_anyhow).await, (Verdict::Retry, "mailing: the server said 451".into()));
    assert_eq!(verdict(|| Failure::reject(SmtpError(550))).await, (Verdict::Reject, "the server said 550".into()));
    assert_eq!(verdict(|| Failure::retry_after("busy", Duration::from_secs(5))).await.0, Verdict::RetryAfter(soon));
    assert_eq!(verdict(|| Err::<(), _>(SmtpError(550)).reject().unwrap_err()).await.0, Verdict::Reject);
    assert_eq!(
        verdict(|| Err::<(), _>("no").retry_after(Duration::from_secs(5)).unwrap_err()).await.0,
        Verdict::RetryAfter(soon)
    );
}

/// Ends the delivery as the message's header says.
struct Ends;

impl<S: Sync> Extract<S> for Ends {
    async fn extract(context: &mut Context, _: &S) -> Result<Self, Early> {
        match context.message().headers().get("ends") {
            Some("handled") => Err(Early::Handled),
            Some(other) => Ok(Err(format!("{other} in group {}", context.group())).reject()?),
            None => Ok(Self),
        }
    }
}

#[tokio::test]
async fn an_extractor_can_end_a_delivery_before_the_handler_is_called() {
    let calls = Arc::new(AtomicUsize::new(0));
    let of = |ends: Option<&'static str>| {
        let mut headers = Headers::new();
        if let Some(ends) = ends {
            headers.append("ends", ends).unwrap();
        }
        let calls = Arc::clone(&calls);
        let handlers = Handlers::new().on(move |_: UserCreated, _: Ends| {
            calls.fetch_add(1, Ordering::Relaxed);
            async {}
        });
        outcome(handlers, context(message(r#"{"id":7}"#).into_builder().headers(headers).build()))
    };
    of(Some("handled")).await.unwrap();
    let failure = of(Some("no tenant")).await.unwrap_err();
    assert_eq!((failure.verdict(), failure.to_string().as_str()), (Verdict::Reject, "no tenant in group email"));
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    of(None).await.unwrap();
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_a_handler_publishes_belongs_to_the_trace_of_its_message() {
    #[derive(Event, Serialize, Deserialize)]
    #[event(topic = "mail.sent")]
    struct MailSent;

    let broker = broker();
    let subscription = Subscription {
        group: group(),
        pattern: TopicPattern::new("mail.sent").unwrap(),
        members: Members::Share,
        start: None,
        unsettled: 1,
    };
    let (mut fetch, _settle) = broker.subscribe(subscription).await.unwrap();
    let handlers = Handlers::new().on(async |_: UserCreated, publisher: Publisher| publisher.publish(&MailSent).await);
    let trace = TraceContext::start();
    let message = message(r#"{"id":7}"#).into_builder().trace(trace.clone()).build();
    outcome(handlers, context_at(broker.clone(), message, 1)).await.unwrap();

    let tidings_core::Fetched::Deliveries(deliveries) = fetch.fetch(1).await.unwrap() else { panic!("no delivery") };
    let sent = &deliveries[0].message;
    assert_eq!(sent.trace().unwrap().trace_id(), trace.trace_id());
    assert_ne!(sent.trace(), Some(&trace));
    assert_eq!(sent.source().as_str(), "/email");
}

#[test]
fn a_slot_that_is_used_again_costs_no_allocation() {
    let handler = only(
        Handlers::new()
            .on(async |user: UserCreated, meta: Meta, State(seen): State<Arc<AtomicUsize>>| {
                seen.fetch_add(usize::try_from(user.id)? + meta.headers().len(), Ordering::Relaxed);
                anyhow::Ok(())
            })
            .with_state(Arc::new(AtomicUsize::new(0))),
    );
    let mut headers = Headers::new();
    headers.append("tenant", "acme").unwrap();
    let context = context(message(r#"{"id":7}"#).into_builder().headers(headers).build());
    let mut slot = empty_slot();
    let poll = |slot: &mut Slot| {
        handler.dispatch(context.clone(), slot);
        assert!(slot.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
    };
    poll(&mut slot);
    let counted = allocation_counter::measure(|| (0..100).for_each(|_| poll(&mut slot)));
    assert_eq!(counted.count_total, 0);
}
