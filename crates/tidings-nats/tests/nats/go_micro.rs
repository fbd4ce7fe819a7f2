//! `?wire=go-micro` as a raw socket sees it: no client of ours on the other side.

use crate::common::{Reader, SOON, body, message, open, to};
use tidings_core::{Headers, Key};
use tidings_testing::servers::Nats;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
    time::timeout,
};

/// NATS by hand.
struct Raw(BufStream<TcpStream>);

impl Raw {
    async fn to(nats: &Nats) -> Self {
        let mut raw = Self(BufStream::new(TcpStream::connect(nats.address()).await.unwrap()));
        assert!(raw.line().await.starts_with("INFO "));
        raw.say(r#"CONNECT {"verbose":false,"pedantic":false}"#).await;
        raw.round_trip().await;
        raw
    }

    async fn say(&mut self, line: &str) {
        self.0.write_all(line.as_bytes()).await.unwrap();
        self.0.write_all(b"\r\n").await.unwrap();
        self.0.flush().await.unwrap();
    }

    async fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            timeout(SOON, self.0.read_line(&mut line)).await.unwrap().unwrap();
            match line.trim_end() {
                "PING" => self.say("PONG").await,
                line => return line.to_owned(),
            }
        }
    }

    async fn round_trip(&mut self) {
        self.say("PING").await;
        assert_eq!(self.line().await, "PONG");
    }

    async fn subscribe(&mut self, subject: &str) {
        self.say(&format!("SUB {subject} 1")).await;
        self.round_trip().await;
    }

    async fn publish(&mut self, subject: &str, payload: &str) {
        self.say(&format!("PUB {subject} {}\r\n{payload}", payload.len())).await;
        self.round_trip().await;
    }

    /// The next message: its first line, and its payload.
    async fn message(&mut self) -> (String, String) {
        let line = self.line().await;
        let size: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        let mut payload = vec![0; size + 2];
        timeout(SOON, self.0.read_exact(&mut payload)).await.unwrap().unwrap();
        payload.truncate(size);
        (line, String::from_utf8(payload).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_out_is_the_plug_ins_json_and_nothing_else() {
    let Some(nats) = Nats::start().await else { return };
    let mut raw = Raw::to(&nats).await;
    raw.subscribe("user.created").await;
    let broker = open(&format!("{}?wire=go-micro", nats.url())).await;
    let mut headers = Headers::new();
    headers.append("id", "42").unwrap();
    headers.append("token", "hunter2").unwrap();
    let event = message("user.created", r#"{"id":"42","email":"a@b.c"}"#)
        .into_builder()
        .key(Key::new("42").unwrap())
        .content_type("application/json")
        .headers(headers)
        .build();
    let id = event.id().to_string();
    broker.publish(&[event]).await.unwrap();
    let (line, payload) = raw.message().await;
    assert!(line.starts_with("MSG user.created 1 "), "{line}");
    assert_eq!(
        payload,
        format!(
            "{{\"Header\":{{\"Content-Type\":\"application/json\",\"Micro-ID\":\"{id}\",\"Micro-Id\":\"{id}\",\
             \"Micro-Topic\":\"user.created\",\"ce-id\":\"{id}\",\"ce-partitionkey\":\"42\",\"ce-source\":\"/tests\",\
             \"id\":\"42\"}},\"Body\":\"eyJpZCI6IjQyIiwiZW1haWwiOiJhQGIuYyJ9\"}}"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_is_read_in_every_form() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&format!("{}?wire=go-micro", nats.url())).await;
    let mut reader = Reader::new(&broker, to("mail", "user.created")).await;
    let mut raw = Raw::to(&nats).await;
    let payloads = [
        r#"{"Header":{"id":"42"},"Body":"e30="}"#,
        r#"{"Header":null,"Body":"e30="}"#,
        r#"{"Header":{"Content-Type":"application/protobuf","Micro-Id":"7","Micro-ID":"u-1"},"Body":"CgExGgE0"}"#,
        r#"{"id":"42"}"#,
        r#"{"Header":{},"Body":"not base64!"}"#,
        "no json",
    ];
    for payload in payloads {
        raw.publish("user.created", payload).await;
    }
    let received = reader.handle(payloads.len()).await;
    let bodies: Vec<_> = received.iter().map(body).collect();
    assert_eq!(bodies, ["{}", "{}", "\n\u{1}1\u{1a}\u{1}4", payloads[3], payloads[4], payloads[5]]);
    assert_eq!((received[0].key().unwrap().as_str(), received[0].headers().get("id")), ("42", Some("42")));
    assert_eq!(received[0].content_type().unwrap().as_str(), "application/json");
    assert_eq!(
        (received[2].id().to_string().as_str(), received[2].content_type().unwrap().as_str()),
        ("u-1", "application/protobuf")
    );
    assert_ne!(received[0].id(), received[1].id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_the_queue_of_that_name() {
    let Some(nats) = Nats::start().await else { return };
    let broker = open(&format!("{}?wire=go-micro", nats.url())).await;
    let mut reader = Reader::new(&broker, to("mail", "user.created")).await;
    let mut go = Raw::to(&nats).await;
    go.say("SUB user.created mail 1").await;
    go.round_trip().await;
    let mut publisher = Raw::to(&nats).await;
    for number in 0..100 {
        publisher.publish("user.created", &format!(r#"{{"Header":{{}},"Body":"","n":{number}}}"#)).await;
    }
    // Each came to one of the two.
    go.say("PING").await;
    let mut theirs = 0;
    loop {
        let line = go.line().await;
        if line == "PONG" {
            break;
        }
        let size: usize = line.rsplit(' ').next().unwrap().parse().unwrap();
        let mut payload = vec![0; size + 2];
        go.0.read_exact(&mut payload).await.unwrap();
        theirs += 1;
    }
    assert!(theirs > 0 && theirs < 100, "{theirs}");
    assert_eq!(reader.handle(100 - theirs).await.len(), 100 - theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_socket_sees_a_cloud_event_on_the_usual_wire() {
    let Some(nats) = Nats::start().await else { return };
    let mut raw = Raw::to(&nats).await;
    raw.say(r#"CONNECT {"verbose":false,"pedantic":false,"headers":true}"#).await;
    raw.subscribe("user.created").await;
    let broker = open(&nats.url()).await;
    let event = message("user.created", "{}").into_builder().key(Key::new("ü").unwrap()).content_type("application/json").build();
    let id = event.id().to_string();
    broker.publish(&[event]).await.unwrap();
    let (line, payload) = raw.message().await;
    assert!(line.starts_with("HMSG user.created 1 "), "{line}");
    let mut lines: Vec<_> = payload.split("\r\n").collect();
    assert_eq!((lines.remove(0), lines.pop(), lines.pop()), ("NATS/1.0", Some("{}"), Some("")));
    lines.sort_unstable();
    let id = format!("ce-id: {id}");
    let expected = [
        "ce-datacontenttype: application/json",
        &id,
        "ce-partitionkey: %C3%BC",
        "ce-source: /tests",
        "ce-specversion: 1.0",
        "ce-type: user.created",
    ];
    assert_eq!(lines, expected);
}
