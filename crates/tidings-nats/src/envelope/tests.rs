use tidings_core::{Headers, Key, MessageId, Source, TraceContext, wire::Origin};

use super::*;

const ID: &str = "0190d4b6-7a3f-7c55-b6a0-9d1c2f3e4a5b";

fn topic() -> Topic {
    Topic::new("user.created").unwrap()
}

fn received(payload: &str) -> Option<Message> {
    let origin = Origin { source: Source::new("/nats").unwrap(), id: || MessageId::new("made").unwrap() };
    read(&topic(), payload.as_bytes()).map(|incoming| incoming.finish(origin))
}

fn sent() -> Message {
    let mut headers = Headers::new();
    headers.append("id", "42").unwrap();
    headers.append("authorization", "Bearer hunter2").unwrap();
    Message::builder(topic(), Source::new("/users").unwrap(), Bytes::from_static(br#"{"id":"42","email":"a@b.c"}"#))
        .id(MessageId::new(ID).unwrap())
        .key(Key::new("42").unwrap())
        .content_type("application/json; charset=utf-8")
        .trace("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse::<TraceContext>().unwrap())
        .headers(headers)
        .build()
}

#[test]
fn what_is_sent_is_exactly_what_every_go_reader_takes() {
    let expected = format!(
        r#"{{"Header":{{"Content-Type":"application/json","Micro-ID":"{ID}","Micro-Id":"{ID}","Micro-Topic":"user.created","#
    ) + &format!(r#""ce-id":"{ID}","ce-partitionkey":"42","ce-source":"/users","id":"42","#)
        + r#""traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},"#
        + r#""Body":"eyJpZCI6IjQyIiwiZW1haWwiOiJhQGIuYyJ9"}"#;
    assert_eq!(write(&sent()).unwrap(), expected.as_bytes());
}

#[test]
fn what_we_send_we_read() {
    let message = received(str::from_utf8(&write(&sent()).unwrap()).unwrap()).unwrap();
    assert_eq!((message.id().to_string().as_str(), message.source().as_str()), (ID, "/users"));
    assert_eq!((message.key(), message.trace(), message.body()), (sent().key(), sent().trace(), sent().body()));
    assert_eq!(message.headers().iter().collect::<Vec<_>>(), [("id", "42")]);
}

#[test]
fn a_message_of_the_tutorial_has_only_the_users_id() {
    let message = received(r#"{"Header":{"id":"42"},"Body":"e30="}"#).unwrap();
    assert_eq!(message.id().to_string(), "made");
    assert_eq!(message.key().unwrap().as_str(), "42");
    assert_eq!((message.content_type().unwrap().as_str(), &message.body()[..]), (JSON, &b"{}"[..]));
}

#[test]
fn anything_may_be_absent_null_or_in_another_case() {
    for payload in [
        r#"{"Header":null,"Body":"e30="}"#,
        r#"{"Body":"e30="}"#,
        r#"{"body":"e30","more":[1]}"#,
        r#"{"BODY":"e30=","hEADER":{"n":1,"x":null}}"#,
    ] {
        assert_eq!(&received(payload).unwrap().body()[..], b"{}", "{payload}");
    }
    assert!(received(r#"{"Header":{},"Body":null}"#).unwrap().body().is_empty());
    assert!(received(r#"{"Header":{}}"#).unwrap().body().is_empty());
}

#[test]
fn what_is_no_envelope_is_left_to_the_other_forms() {
    for payload in ["", "x", "[]", "{}", r#"{"id":"42"}"#, r#"{"Body":{}}"#, r#"{"Body":"%%"}"#, r#"{"Header":[],"Body":"e30="}"#]
    {
        assert!(received(payload).is_none(), "{payload}");
    }
}

#[test]
fn an_id_is_never_the_callers_request_counter() {
    let id = |header: &str| received(&format!(r#"{{"Header":{{{header}}},"Body":""}}"#)).unwrap().id().to_string();
    assert_eq!(id(r#""Micro-Id":"0","Micro-ID":"true-one""#), "true-one");
    assert_eq!(id(r#""Micro-Id":"true-one""#), "true-one");
    assert_eq!(id(r#""Micro-Id":"17""#), "made");
    assert_eq!(id(r#""Micro-Id":"17","X-Micro-Id":"old""#), "old");
    assert_eq!(id(r#""micro-id":"other-case""#), "made");
    assert_eq!(id(r#""Micro-ID":"theirs","ce-id":"ours","ce-source":"/users""#), "ours");
    assert_eq!(id(r#""Micro-ID":5"#), "made");
}

#[test]
fn headers_that_may_be_a_callers_own_are_not_passed_on() {
    let header = r#""Authorization":"Bearer hunter2","Token":"hunter2","ce-subject":"hunter2","Micro-From-Service":"x","id":"1""#;
    let message = received(&format!(r#"{{"Header":{{{header}}},"Body":""}}"#)).unwrap();
    assert!(!format!("{message:?}").contains("hunter2"), "{message:?}");
    assert_eq!(message.source().as_str(), "/nats");
}

#[test]
fn every_content_type_becomes_json_or_protobuf() {
    let of = |said: &str, body: &[u8]| {
        let body = BASE64_STANDARD.encode(body);
        let message = received(&format!(r#"{{"Header":{{"Content-Type":"{said}"}},"Body":"{body}"}}"#)).unwrap();
        (message.content_type().unwrap().to_string(), message.body().clone())
    };
    for json in ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json-rpc", ""] {
        assert_eq!(of(json, b"{}").0, JSON, "{json}");
    }
    let bare = [0x0a, 0x01, b'1'];
    let prefixed = [&[0, 0, 0, 0, 3][..], &bare].concat();
    for protobuf in ["application/protobuf", "application/proto-rpc", "application/octet-stream"] {
        assert_eq!(of(protobuf, &bare), (PROTOBUF.to_owned(), Bytes::copy_from_slice(&bare)), "{protobuf}");
    }
    for grpc in ["application/grpc", "application/grpc+proto", "application/grpc+json"] {
        for body in [&bare[..], &prefixed] {
            assert_eq!(of(grpc, body), (PROTOBUF.to_owned(), Bytes::copy_from_slice(&bare)), "{grpc}");
        }
    }
    assert_eq!(of("text/plain", b"x").0, "text/plain");
}
