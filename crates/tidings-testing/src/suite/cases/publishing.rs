//! What is published arrives whole, once; what is not taken is named.

use std::{collections::BTreeMap, time::SystemTime};

use tidings_core::{Headers, PublishError, TraceContext, dedup_of};

use super::prelude::*;

pub(super) async fn what_was_published_arrives_whole(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let mut headers = Headers::new();
    for (name, value) in [
        ("a", "with: colon, ünicode ☃ 🌍"),
        ("a", "again"),
        ("b", ""),
        ("c", &"x".repeat(4_096)),
        ("d", "blanks  within;\ta tab"),
        ("e", "100% a=b; \"c\" \\ <d>"),
        ("!#$%&'*+-.^_`|~09AZaz", "a name of all that is allowed"),
    ] {
        headers.append(name, value).unwrap();
    }
    let full = message("t", "")
        .into_builder()
        .event_type("com.example.t")
        .time(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_800_000_000_123_456_789))
        .content_type("application/octet-stream")
        .key(Key::new("a key with blanks ü").unwrap())
        .trace(TraceContext::start().with_state("vendor=1"))
        .headers(headers)
        .build();
    let large: Vec<_> = (0..=255).cycle().take(broker.capabilities().max_message - 8 * 1024).collect();
    let sent: Vec<_> = [&b""[..], b"1", b"\xff\0\xfe\r\n\r\n", &[b'x'; 1_024], &large]
        .into_iter()
        .flat_map(|body| {
            let body = Bytes::copy_from_slice(body);
            [message("t", "").into_builder().body(body.clone()).build(), new_id(&full).body(body).build()]
        })
        .collect();
    publish(&*broker, &sent).await;
    for (delivery, sent) in reader.take(sent.len()).await.iter().zip(&sent) {
        let (came, length) = (&delivery.message, sent.body().len());
        assert_eq!(by_name(came.headers()), by_name(sent.headers()), "the headers of {length} bytes");
        let came = &came.clone().into_builder().headers(sent.headers().clone()).build();
        // Not shown: they may be a megabyte.
        assert!(came.body() == sent.body(), "a body of {length} bytes came as another one of {}", came.body().len());
        assert!(came == sent, "the attributes of {length} bytes: {:?}", came.clone().into_builder().body(Bytes::new()));
    }
}

/// The values of each name, in order. In which order the names stand, some wires do not keep.
fn by_name(headers: &Headers) -> BTreeMap<&str, Vec<&str>> {
    headers.iter().map(|(name, _)| (name, headers.get_all(name).collect())).collect()
}

/// Everything of a message but its id.
fn new_id(of: &Message) -> tidings_core::MessageBuilder {
    of.clone().into_builder().id(tidings_core::MessageId::generate())
}

/// What each broker's own tests call with one that was opened with `?wire=bare`.
///
/// # Panics
/// When something else arrives than the body.
pub async fn on_a_bare_wire_the_body_alone_arrives(broker: &dyn Broker) {
    let (mut reader, mut letters) = (subscribe(broker, "g", "t").await, subscribe(broker, "ops", "dead.g.t").await);
    let whole = keyed("t", "k", "body").into_builder().trace(TraceContext::start()).content_type("text/plain").build();
    let dead = Topic::dead(&GroupName::new("g").unwrap(), whole.topic());
    let letter = whole.clone().into_builder().topic(dead).build();
    publish(broker, &[whole.clone(), letter.clone()]).await;
    let came = reader.take(1).await.remove(0).message;
    assert_eq!((came.topic(), came.body()), (whole.topic(), whole.body()));
    assert_eq!((came.key(), came.trace(), came.content_type()), (None, None, None));
    assert_ne!((came.source(), came.id()), (whole.source(), whole.id()));
    assert_eq!(letters.take(1).await[0].message, letter);
}

pub(super) async fn a_message_of_the_largest_size_arrives_and_a_larger_one_is_named(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let limit = broker.capabilities().max_message;
    let of = |size: usize| message("t", "").into_builder().body(vec![b'x'; size].into()).build();
    let (fits, too_large) = (of(limit - 1024), of(limit));
    let failures = within(broker.publish(&[too_large, fits.clone()])).await.unwrap_err();
    let (place, error) = &failures.failed()[0];
    assert!(matches!(error, PublishError::TooLarge { limit: said, .. } if *said == limit), "{error}");
    assert_eq!((*place, failures.failed().len()), (0, 1));
    // Nothing of the connection has suffered.
    assert!(reader.take(1).await[0].message == fits, "another message came");
    // Its dead letter is larger, and fits too.
    let mut letters = subscribe(&*broker, "ops", "dead.g.t").await;
    let mut headers = Headers::new();
    headers.append("tidings-error", "x".repeat(4 * 1024)).unwrap();
    let topic = Topic::dead(&GroupName::new("g").unwrap(), fits.topic());
    publish(&*broker, &[fits.into_builder().topic(topic).headers(headers).dedup_id("dead").build()]).await;
    letters.take(1).await;
}

pub(super) async fn exactly_the_messages_that_were_not_taken_are_named(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let limit = broker.capabilities().max_message;
    let mut batch = numbered("t", 100);
    for place in [0, 50, 99] {
        batch[place] = batch[place].clone().into_builder().body(vec![0; limit + 1].into()).build();
    }
    for bad in ["a..b", "user.*"] {
        let topic = Topic::from_wire(bad).unwrap();
        batch.push(message("t", "").into_builder().topic(topic).build());
    }
    let failures = within(broker.publish(&batch)).await.unwrap_err();
    let places: Vec<_> = failures.failed().iter().map(|(place, _)| *place).collect();
    assert_eq!(places, [0, 50, 99, 100, 101]);
    assert!(matches!(failures.failed()[4].1, PublishError::Name(_)));
    let expected: Vec<_> = (1..99).filter(|n| *n != 50).map(|n| n.to_string()).collect();
    assert_eq!(reader.read(97).await, expected);
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn a_second_publish_is_recognised(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let batch = numbered("t", 100);
    publish(&*broker, &batch).await;
    publish(&*place.open().await, &batch[50..]).await;
    let twice = message("t", "100").into_builder().dedup_id("own").build();
    publish(&*broker, &[twice.clone(), twice]).await;
    assert_eq!(reader.read(101).await, numbers(0, 101));
    reader.is_drained(&*broker, "t").await;
}

pub(super) async fn an_event_and_its_dead_letter_share_an_id_and_both_arrive(place: Place) {
    let broker = place.open().await;
    let (mut events, mut letters) = (subscribe(&*broker, "g", "t").await, subscribe(&*broker, "ops", "dead.g.>").await);
    let event = message("t", "event");
    publish(&*broker, std::slice::from_ref(&event)).await;
    let taken = events.take(1).await;
    let group = GroupName::new("g").unwrap();
    let letter = event
        .clone()
        .into_builder()
        .topic(Topic::dead(&group, event.topic()))
        .dedup_id(dedup_of(&[&"dead", &"g", &"t", &"/case", &event.id().to_string(), &"0"]))
        .build();
    publish(&*broker, &[letter.clone(), letter]).await;
    events.end(&taken, Outcome::Reject).await;
    assert_eq!(letters.take(1).await[0].message.id(), event.id());
    events.is_drained(&*broker, "t").await;
}

pub(super) async fn publishes_that_were_given_up_leave_nothing_broken(place: Place) {
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let mut begun = Vec::new();
    for round in 0..20 {
        let batch = numbered("t", 10);
        let future = broker.publish(&batch);
        let _ = tokio::time::timeout(Duration::from_micros(round * 50), future).await;
        begun.extend(batch);
    }
    // Whoever gave up tries again, as the relay does.
    publish(&*broker, &begun).await;
    let last = message("t", "the last");
    publish(&*broker, std::slice::from_ref(&last)).await;
    let mut came = BTreeMap::<_, usize>::new();
    while !came.contains_key(&last.id().to_string()) {
        for delivery in reader.next(100).await {
            *came.entry(delivery.message.id().to_string()).or_default() += 1;
        }
    }
    assert_eq!(came.remove(&last.id().to_string()), Some(1));
    let sent: BTreeSet<_> = begun.iter().map(|message| message.id().to_string()).collect();
    assert!(came.keys().eq(&sent), "{} came of {}", came.len(), sent.len());
    let most = if broker.capabilities().deduplication { 1 } else { 2 };
    assert!(came.values().all(|times| *times <= most), "one came more often than it was published: {came:?}");
}

pub(super) async fn what_was_published_is_there_when_its_publisher_is_closed(place: Place) {
    let (publisher, other) = (place.open().await, place.open().await);
    let mut reader = subscribe(&*other, "g", "t").await;
    // Without a flush: the close has to do it.
    within(publisher.publish(&numbered("t", 500))).await.unwrap();
    within(publisher.close()).await.unwrap();
    drop(publisher);
    assert_eq!(reader.read(500).await, numbers(0, 500));
    reader.is_drained(&*other, "t").await;
}

pub(super) async fn many_messages_come_each_once(place: Place) {
    const COUNT: usize = 1_500;
    let broker = place.open().await;
    let mut reader = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move {
        for batch in numbered("t", COUNT).chunks(100) {
            publish(&*publisher, batch).await;
        }
    });
    let mut came = Ledger::default();
    while came.different() < COUNT {
        let next = reader.next(256).await;
        reader.end(&next, Outcome::Ack).await;
        came.note(&next);
    }
    within(publishing).await.unwrap();
    let last = message("t", "the last");
    publish(&*broker, std::slice::from_ref(&last)).await;
    while !came.has("the last") {
        came.note(&reader.take(1).await);
    }
    let expected: Vec<_> = numbers(0, COUNT).into_iter().chain(["the last".to_owned()]).collect();
    came.check(&place, &expected, 0);
}
