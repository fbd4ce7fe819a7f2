//! What is given up is kept: once, whole, and with the reason.

use std::borrow::Cow;

use bytes::Bytes;
use tidings::Event;
use tidings_core::{BoxError, Broker, Topic};

use crate::suite::{Reader, subscribe};

use super::prelude::*;

/// Who reads the dead letters of a group.
pub(super) struct Letters {
    reader: Reader,
    topic: Topic,
}

impl Letters {
    pub(super) async fn of(broker: &dyn Broker, group: &str) -> Self {
        let topic = Topic::dead(&tidings_core::GroupName::new(group).unwrap(), &Topic::new("t").unwrap());
        Self { reader: subscribe(broker, "watch", topic.as_str()).await, topic }
    }

    pub(super) async fn take(&mut self, count: usize) -> Vec<Message> {
        let deliveries = self.reader.take(count).await;
        self.reader.end(&deliveries, tidings_core::Outcome::Ack).await;
        deliveries.into_iter().map(|delivery| delivery.message).collect()
    }

    /// No other one is stored, shown by one that is published now and is the next.
    pub(super) async fn are_all(mut self, broker: &dyn Broker) {
        let last = message("t", "the last").into_builder().topic(self.topic.clone()).build();
        publish(broker, std::slice::from_ref(&last)).await;
        assert_eq!(self.take(1).await[0].id(), last.id(), "a dead letter came that should not have");
    }
}

pub(super) fn said<'a>(letter: &'a Message, name: &str) -> &'a str {
    letter.headers().get(name).unwrap_or_default()
}

pub(super) async fn a_rejected_message_is_one_dead_letter_and_does_not_come_again(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let mut letters = Letters::of(&*broker, "g").await;
    let handlers = || tells(&seen, |tried| if tried.body == "bad" { Err(Failure::reject("no good")) } else { Ok(()) });
    let instance = Instance::start(Arc::clone(&broker), handlers()).await;
    let bad = keyed("t", "k", "bad");
    publish(&*broker, &[keyed("t", "k", "before"), bad.clone(), keyed("t", "k", "after")]).await;
    let letter = letters.take(1).await.remove(0);
    assert_eq!((letter.id(), letter.source(), letter.key()), (bad.id(), bad.source(), bad.key()));
    assert_eq!(letter.body(), bad.body());
    let why = ["tidings-reason", "tidings-error", "tidings-attempts", "tidings-group"].map(|name| said(&letter, name));
    assert_eq!(why, ["rejected", "no good", "1", "g"]);
    seen.count(3).await;
    instance.stop().await;
    let next = Instance::start(place.open().await, handlers()).await;
    publish(&*broker, &[keyed("t", "k", "last")]).await;
    let bodies: Vec<_> = seen.until(|seen| seen.iter().any(|tried| tried.body == "last")).await;
    assert!(bodies.iter().map(|tried| tried.body.as_str()).eq(["before", "bad", "after", "last"]), "{bodies:?}");
    next.stop().await;
    letters.are_all(&*broker).await;
}

/// An event whose body is a number in digits.
#[derive(Debug)]
struct Number(u32);

impl Event for Number {
    const TOPIC: &'static str = "t";
    const CONTENT_TYPE: &'static str = "text/plain";

    fn key(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn encode(&self) -> Result<Bytes, BoxError> {
        Ok(self.0.to_string().into())
    }

    fn decode(_: Option<&str>, body: &Bytes) -> Result<Self, BoxError> {
        Ok(Self(std::str::from_utf8(body)?.parse()?))
    }
}

pub(super) async fn a_body_that_cannot_be_read_is_a_dead_letter_that_says_so(place: Place) {
    let (broker, seen) = (place.open().await, Seen::new());
    let mut letters = Letters::of(&*broker, "g").await;
    let saw = seen.clone();
    let handlers = Handlers::new().on(move |number: Number| {
        saw.push(number.0);
        async {}
    });
    let instance = Instance::start(Arc::clone(&broker), handlers).await;
    let unreadable = message("t", "").into_builder().body(Bytes::from_static(b"\xff\0")).build();
    publish(&*broker, &[message("t", "1"), unreadable.clone(), message("t", "2")]).await;
    let letter = letters.take(1).await.remove(0);
    assert_eq!((letter.id(), letter.body()), (unreadable.id(), unreadable.body()));
    assert_eq!((said(&letter, "tidings-reason"), said(&letter, "tidings-attempts")), ("rejected", "1"));
    assert!(said(&letter, "tidings-error").contains("utf-8"), "{}", said(&letter, "tidings-error"));
    seen.count(2).await;
    instance.stop().await;
    letters.are_all(&*broker).await;
    let mut handled = seen.all();
    handled.sort_unstable();
    assert_eq!(handled, [1, 2]);
}

pub(super) async fn every_subscription_has_a_dead_letter_of_its_own_beside_the_event(place: Place) {
    let (broker, handled) = (place.open().await, Seen::new());
    let (mut of_g, mut of_h) = (Letters::of(&*broker, "g").await, Letters::of(&*broker, "h").await);
    let rejects = |pattern: &str| Handlers::new().on_topic(pattern, async |_: Message| Err::<(), _>(Failure::reject("no")));
    // Two groups, and two patterns of one group: an engine that tells messages apart by their ids alone swallows some.
    let all = rejects("t").merge(rejects("*")).merge(rejects("t").group("h")).merge(tells(&handled, |_| Ok(())).group("fine"));
    let instance = Instance::start(Arc::clone(&broker), all).await;
    let event = message("t", "event");
    publish(&*broker, std::slice::from_ref(&event)).await;
    let letters = of_g.take(2).await;
    let mut patterns: Vec<_> = letters.iter().map(|letter| said(letter, "tidings-pattern")).collect();
    patterns.sort_unstable();
    assert_eq!(patterns, ["*", "t"]);
    assert!(letters.iter().chain(&of_h.take(1).await).all(|letter| letter.id() == event.id()));
    assert_eq!(handled.count(1).await[0].body, "event");
    instance.stop().await;
    of_g.are_all(&*broker).await;
    of_h.are_all(&*broker).await;
    assert_eq!(handled.all().len(), 1);
}

pub(super) async fn a_message_at_the_limit_has_a_whole_dead_letter(place: Place) {
    let broker = place.open().await;
    let mut letters = Letters::of(&*broker, "g").await;
    // The longest story that a failure can tell, too.
    let rejects = async |_: Message| Err::<(), _>(Failure::reject("é".repeat(100_000)));
    let instance = Instance::start(Arc::clone(&broker), Handlers::new().on_topic("t", rejects)).await;
    let empty = keyed("t", "k", "");
    let body = vec![b'x'; broker.capabilities().max_message - empty.size()];
    let largest = empty.into_builder().body(Bytes::from(body)).build();
    assert_eq!(largest.size(), broker.capabilities().max_message);
    publish(&*broker, std::slice::from_ref(&largest)).await;
    let letter = letters.take(1).await.remove(0);
    // Not shown: it may be a megabyte.
    assert!(letter.body() == largest.body(), "the letter has {} bytes of {}", letter.body().len(), largest.body().len());
    assert_eq!((letter.id(), said(&letter, "tidings-reason")), (largest.id(), "rejected"));
    instance.stop().await;
    letters.are_all(&*broker).await;
}
