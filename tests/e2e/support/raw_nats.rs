//! A NATS client of a few lines, which shares no code with Tidings: a view from outside.

use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// One connection, which speaks the protocol's text by hand.
pub(crate) struct RawNats(BufReader<TcpStream>);

/// What came on a subject.
#[derive(Debug)]
pub(crate) struct RawMessage {
    pub(crate) subject: String,
    /// As they stand on the wire, not decoded.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl RawMessage {
    /// The first header of this name, letter for letter.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

impl RawNats {
    pub(crate) async fn connect(address: &str) -> Self {
        let mut nats = Self(BufReader::new(TcpStream::connect(address).await.unwrap()));
        assert!(nats.line().await.starts_with("INFO "));
        nats.send(b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true}\r\n").await;
        nats.round_trip().await;
        nats
    }

    /// Subscribes; what is published from now on arrives.
    pub(crate) async fn subscribe(&mut self, subject: &str) {
        self.send(format!("SUB {subject} 1\r\n").as_bytes()).await;
        self.round_trip().await;
    }

    /// Publishes without headers; the server has it when this returns.
    pub(crate) async fn publish(&mut self, subject: &str, body: &[u8]) {
        let head = format!("PUB {subject} {}\r\n", body.len());
        self.send(&[head.as_bytes(), body, b"\r\n"].concat()).await;
        self.round_trip().await;
    }

    /// Publishes with headers; the server has it when this returns.
    pub(crate) async fn publish_with(&mut self, subject: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = "NATS/1.0\r\n".to_owned();
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        let line = format!("HPUB {subject} {} {}\r\n", head.len(), head.len() + body.len());
        self.send(&[line.as_bytes(), head.as_bytes(), body, b"\r\n"].concat()).await;
        self.round_trip().await;
    }

    /// The next message, within 30 s.
    pub(crate) async fn next(&mut self) -> RawMessage {
        tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let line = self.line().await;
                let words: Vec<&str> = line.split(' ').collect();
                match words[0] {
                    "PING" => self.send(b"PONG\r\n").await,
                    "MSG" => return self.message(&words, 0).await,
                    "HMSG" => {
                        let head = words[words.len() - 2].parse().unwrap();
                        return self.message(&words, head).await;
                    }
                    other => assert!(matches!(other, "INFO" | "PONG" | "+OK"), "{line}"),
                }
            }
        })
        .await
        .expect("no message within 30 s")
    }

    async fn message(&mut self, words: &[&str], head: usize) -> RawMessage {
        let subject = words[1].to_owned();
        let mut bytes = vec![0; words[words.len() - 1].parse::<usize>().unwrap() + 2];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes.truncate(bytes.len() - 2);
        let body = bytes.split_off(head);
        let headers = String::from_utf8(bytes).unwrap();
        let headers = headers.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        RawMessage { subject, headers, body }
    }

    async fn round_trip(&mut self) {
        self.send(b"PING\r\n").await;
        let line = self.line().await;
        assert_eq!(line, "PONG", "the server refused what was sent");
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "the server closed the connection");
        line.trim_end().to_owned()
    }
}
