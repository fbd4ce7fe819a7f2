//! JetStream's JSON API: asking it, and what it answers.
//!
//! The configurations are kept as the server wrote them, so that an update changes nothing that we do not know.

use std::sync::Arc;

use async_nats::{Message, Request, RequestErrorKind};
use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tidings_core::BrokerError;

use crate::connect::{ANSWER, Connection};

/// A stream's or a consumer's configuration.
pub(super) type Config = Map<String, Value>;

/// The API of one JetStream, in its domain.
pub(super) struct Api {
    pub(super) connection: Arc<Connection>,
    prefix: String,
}

/// Why a call failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said no.
    Said(Said),
    /// It was not reached.
    Broker(BrokerError),
}

/// The server's no.
#[derive(Debug, Deserialize)]
pub(super) struct Said {
    /// As in HTTP: from 500 on it may change its mind.
    pub(super) code: u16,
    /// Which no it is: one of [`code`].
    #[serde(default)]
    pub(super) err_code: u32,
    #[serde(default)]
    pub(super) description: String,
}

/// The codes that something is made of, from the server's `errors.json`.
pub(super) mod code {
    pub(in crate::jetstream) const CONSUMER_NOT_FOUND: u32 = 10_014;
    pub(in crate::jetstream) const MESSAGE_TOO_LARGE: u32 = 10_054;
    pub(in crate::jetstream) const STREAM_NAME_IN_USE: u32 = 10_058;
    pub(in crate::jetstream) const STREAM_NOT_FOUND: u32 = 10_059;
    pub(in crate::jetstream) const STORAGE_EXCEEDED: u32 = 10_047;
    pub(in crate::jetstream) const SUBJECTS_OVERLAP: u32 = 10_065;
    pub(in crate::jetstream) const STREAM_FULL: u32 = 10_077;
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Said>,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: Config,
    pub(super) state: StreamState,
}

#[derive(Debug, Deserialize)]
pub(super) struct StreamState {
    pub(super) bytes: u64,
    pub(super) first_seq: u64,
}

#[derive(Debug, Deserialize)]
pub(super) struct ConsumerInfo {
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) delivered: Delivered,
    pub(super) num_ack_pending: usize,
}

#[derive(Debug, Deserialize)]
pub(super) struct Delivered {
    pub(super) stream_seq: u64,
    #[serde(default)]
    pub(super) last_active: Option<String>,
}

impl Api {
    pub(super) fn new(connection: Arc<Connection>, domain: Option<&str>) -> Self {
        let prefix = domain.map_or("$JS.API".to_owned(), |domain| format!("$JS.{domain}.API"));
        Self { connection, prefix }
    }

    pub(super) async fn stream(&self, stream: &str) -> Result<StreamInfo, Failure> {
        self.call(&format!("STREAM.INFO.{stream}"), &Value::Null).await
    }

    pub(super) async fn create_stream(&self, stream: &str, config: &Config) -> Result<StreamInfo, Failure> {
        self.call(&format!("STREAM.CREATE.{stream}"), config).await
    }

    pub(super) async fn update_stream(&self, stream: &str, config: &Config) -> Result<StreamInfo, Failure> {
        self.call(&format!("STREAM.UPDATE.{stream}"), config).await
    }

    pub(super) async fn consumer(&self, stream: &str, consumer: &str) -> Result<ConsumerInfo, Failure> {
        self.call(&format!("CONSUMER.INFO.{stream}.{consumer}"), &Value::Null).await
    }

    /// Makes a consumer; one without a name of its own gets one, and ends with its use.
    pub(super) async fn create_consumer(
        &self,
        stream: &str,
        durable: Option<&str>,
        config: Config,
    ) -> Result<ConsumerInfo, Failure> {
        let call = match durable {
            Some(name) => format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"),
            None => format!("CONSUMER.CREATE.{stream}"),
        };
        let question = Map::from_iter([("stream_name".to_owned(), stream.into()), ("config".to_owned(), config.into())]);
        self.call(&call, &question).await
    }

    pub(super) async fn delete_consumer(&self, stream: &str, consumer: &str) -> Result<(), Failure> {
        self.call::<Value>(&format!("CONSUMER.DELETE.{stream}.{consumer}"), &Value::Null).await.map(drop)
    }

    /// Where messages are asked for.
    pub(super) fn next_subject(&self, stream: &str, consumer: &str) -> String {
        format!("{}.CONSUMER.MSG.NEXT.{stream}.{consumer}", self.prefix)
    }

    async fn call<T: DeserializeOwned>(&self, call: &str, question: &impl serde::Serialize) -> Result<T, Failure> {
        let unreadable = |error: serde_json::Error| Failure::Broker(self.connection.unavailable(error));
        let question = serde_json::to_vec(question).map_err(unreadable)?;
        let question = if question == b"null" { Bytes::new() } else { question.into() };
        let message = self.ask(format!("{}.{call}", self.prefix), question).await.map_err(Failure::Broker)?;
        if let Some(said) = serde_json::from_slice::<Answer>(&message.payload).map_err(unreadable)?.error {
            return Err(Failure::Said(said));
        }
        serde_json::from_slice(&message.payload).map_err(unreadable)
    }
}

impl Api {
    /// With an inbox of its own: the client's shared one keeps an entry for ever when no answer comes.
    async fn ask(&self, subject: String, question: Bytes) -> Result<Message, BrokerError> {
        let connection = &self.connection;
        connection.ready()?;
        let client = &connection.client;
        let request = Request::new().inbox(client.new_inbox()).payload(question).timeout(Some(ANSWER));
        client.send_request(subject, request).await.map_err(|error| {
            if error.kind() == RequestErrorKind::NoResponders && !client.server_info().jetstream {
                return connection.refused("JetStream is not enabled there: start nats-server with `-js`, or use `nats://`");
            }
            connection.unavailable(error)
        })
    }
}

impl Failure {
    /// Whether the server said just this.
    pub(super) fn is(&self, code: u32) -> bool {
        matches!(self, Self::Said(said) if said.err_code == code)
    }

    /// As the error of a call that was about `what`.
    pub(super) fn about(self, what: &str, connection: &Connection) -> BrokerError {
        match self {
            Self::Broker(error) => error,
            // Full storage is a 500 too, but waiting does not help.
            Self::Said(said) if said.code >= 500 && said.err_code != code::STORAGE_EXCEEDED => {
                connection.unavailable(format!("{what}: {}", said.description))
            }
            Self::Said(said) => connection.refused(format!("{what}: {}", said.description)),
        }
    }
}
