use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;
use crate::{Key, Message, MessageId, Source, Topic, TraceContext};

fn origin() -> Origin<impl FnOnce() -> MessageId> {
    Origin { source: Source::new("/engine").unwrap(), id: || MessageId::new("stream:7").unwrap() }
}

fn topic() -> Topic {
    Topic::new("user.created").unwrap()
}

#[test]
fn the_binary_form_comes_back_as_it_went() {
    let sent = Message::builder(topic(), Source::new("/users ü").unwrap(), Bytes::from_static(b"\xff\0"))
        .time(SystemTime::UNIX_EPOCH + Duration::from_nanos(1_800_000_000_123_456_789))
        .key(Key::new("a \"key\" 100%").unwrap())
        .trace(TraceContext::start().with_state("v=1"))
        .content_type("application/octet-stream")
        .build();
    let mut incoming = Incoming::new(topic(), sent.body().clone());
    attributes(&sent, |name, value| {
        let wire = encode_value(value);
        assert!(wire.bytes().all(|byte| byte.is_ascii_graphic()), "{wire}");
        incoming.attribute(name, &decode_value(&wire));
    });
    incoming.attribute("datacontenttype", sent.content_type().unwrap());
    assert_eq!(incoming.finish(origin()), sent);
}

#[test]
fn a_plain_body_is_named_by_its_place() {
    let message = Incoming::new(topic(), Bytes::from_static(b"hello")).finish(origin());
    assert_eq!((message.source().as_str(), message.id().to_string()), ("/engine", "stream:7".to_owned()));
    assert_eq!(message.time(), None);
}

#[test]
fn a_structured_body_is_recognised_and_its_data_not_copied() {
    let body = Bytes::from_static(
        br#" {"specversion":"1.0","id":"1","source":"/s","type":"t","partitionkey":"k","custom":5,"data":{"a":[1, 2]}}"#,
    );
    let message = Incoming::new(topic(), body.clone()).finish(origin());
    assert_eq!((message.id().to_string().as_str(), message.event_type().as_str()), ("1", "t"));
    assert_eq!(message.key().unwrap().as_str(), "k");
    assert_eq!(message.headers().get("ce-custom"), Some("5"));
    assert_eq!(&message.body()[..], br#"{"a":[1, 2]}"#);
    assert!(body.as_ptr_range().contains(&message.body().as_ptr()));
    assert_eq!(message.content_type().unwrap().as_str(), "application/json");
}

#[test]
fn structured_data_may_be_base64_or_text() {
    let of = |rest: &str| {
        let body = format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t",{rest}}}"#);
        let mut incoming = Incoming::new(topic(), body.into());
        incoming.header("Content-Type", "application/CloudEvents+json; charset=utf-8");
        incoming.finish(origin()).body().clone()
    };
    assert_eq!(&of(r#""datacontenttype":"application/octet-stream","data_base64":"/wA=""#)[..], b"\xff\0");
    assert_eq!(&of(r#""datacontenttype":"text/plain","data":"a\nb""#)[..], b"a\nb");
    assert_eq!(&of(r#""data":"text""#)[..], b"\"text\"");
}

#[test]
fn a_body_that_only_mentions_specversion_is_a_body() {
    for body in [&br#"{"specversion":"1.0"}"#[..], br#"{"specversion":"1.0","id":1"#, br#"["specversion"]"#] {
        let message = Incoming::new(topic(), Bytes::copy_from_slice(body)).finish(origin());
        assert_eq!(&message.body()[..], body);
        assert_eq!(message.content_type(), None);
    }
}

#[test]
fn an_attribute_that_breaks_its_rule_is_passed_over() {
    let mut incoming = Incoming::new(topic(), Bytes::new());
    incoming.attribute("specversion", "1.0");
    incoming.attribute("id", &"x".repeat(300));
    incoming.attribute("time", "yesterday");
    incoming.attribute("traceparent", "no");
    let message = incoming.finish(origin());
    assert_eq!(message.id().to_string(), "stream:7");
    assert_eq!((message.time(), message.trace()), (None, None));
}
