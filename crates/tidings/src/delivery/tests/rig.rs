//! A subscription under test, and what its handler saw.

use std::{
    fmt::Debug,
    future::Future,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tidings_core::{Broker, BrokerError, GroupName, Key, Message, Source, Topic, TraceContext};
use tidings_memory::{Memory, Settings};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use super::super::{Backlog, Drain, Ground, Limits, Subscriber};
use crate::{Handlers, Publisher, handlers::Registration, metrics::Metrics};

pub(in super::super) fn broker() -> Arc<dyn Broker> {
    memory()
}

pub(super) fn memory() -> Arc<Memory> {
    Arc::new(Memory::private(Settings::default()))
}

/// Ends a test that hangs; with a paused clock at once.
pub(super) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), what).await.expect("it takes too long")
}

/// What happened so far, in order; a test waits for it to be what it should.
#[derive(Debug, Clone)]
pub(super) struct Seen<T>(Arc<watch::Sender<Vec<T>>>);

impl<T: Clone + Debug> Seen<T> {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    pub(super) fn push(&self, what: T) {
        self.0.send_modify(|seen| seen.push(what));
    }

    pub(super) fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    pub(super) async fn when(&self, is: impl Fn(&[T]) -> bool) -> Vec<T> {
        let mut changes = self.0.subscribe();
        let waits = async { changes.wait_for(|seen| is(seen)).await.unwrap().clone() };
        match timeout(Duration::from_secs(60), waits).await {
            Ok(seen) => seen,
            Err(_) => panic!("this is all that happened: {:?}", self.all()),
        }
    }

    pub(super) async fn count(&self, count: usize) -> Vec<T> {
        self.when(|seen| seen.len() >= count).await
    }
}

/// Handlers that run on a broker.
pub(super) struct Rig {
    pub(super) ground: Ground,
    pub(super) drain: Drain,
    /// What waited for the handlers.
    pub(super) backlog: Backlog,
    runs: Vec<JoinHandle<Result<(), BrokerError>>>,
}

impl Rig {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Self {
        Self::with(broker, Limits::default())
    }

    pub(super) fn with(broker: Arc<dyn Broker>, limits: Limits) -> Self {
        let publisher = Publisher::new(Arc::clone(&broker), Source::new("/test").unwrap());
        let ground = Ground::new(broker, publisher, "instance-1".into(), limits, Metrics::new());
        Self { ground, drain: Drain::default(), backlog: Backlog::since(std::time::SystemTime::now()), runs: Vec::new() }
    }

    /// Subscribes the handlers in the group `g`, and runs them.
    pub(super) async fn start(mut self, handlers: Handlers) -> Self {
        for registration in handlers.registrations(&GroupName::new("g").unwrap()).unwrap() {
            let registration = Registration { backlog: Some(self.backlog.clone()), ..registration };
            let subscriber = Subscriber::subscribe(&self.ground, registration).await.unwrap();
            self.runs.push(tokio::spawn(subscriber.run(self.drain.clone())));
        }
        self
    }

    pub(super) async fn publish(&self, messages: &[Message]) {
        self.ground.broker.publish(messages).await.unwrap();
    }

    pub(super) fn metrics(&self) -> String {
        self.ground.metrics.encode().unwrap()
    }

    /// Waits for the end that the drain asks for.
    pub(super) async fn ended(self) -> Result<(), BrokerError> {
        for run in self.runs {
            soon(run).await.unwrap()?;
        }
        Ok(())
    }

    pub(super) async fn stop(self) -> Result<(), BrokerError> {
        self.drain.stop.cancel();
        self.ended().await
    }
}

/// A message on `t` with a body that names it.
pub(super) fn message(key: &str, body: &str) -> Message {
    let key = (!key.is_empty()).then(|| Key::new(key).unwrap());
    Message::builder(Topic::new("t").unwrap(), Source::new("/source").unwrap(), Bytes::from(body.to_owned()))
        .key(key)
        .trace(TraceContext::start())
        .time(std::time::SystemTime::now())
        .build()
}

pub(super) fn body(message: &Message) -> String {
    String::from_utf8_lossy(message.body()).into_owned()
}

/// The lines that are logged on this thread, until it is dropped.
pub(super) struct Logged {
    lines: Arc<Mutex<Vec<u8>>>,
    _default: tracing::subscriber::DefaultGuard,
}

impl Logged {
    pub(super) fn new(level: tracing::Level) -> Self {
        let lines = Arc::<Mutex<Vec<u8>>>::default();
        let to = Writer(Arc::clone(&lines));
        let subscriber =
            tracing_subscriber::fmt().with_max_level(level).with_ansi(false).with_writer(move || to.clone()).finish();
        Self { lines, _default: tracing::subscriber::set_default(subscriber) }
    }

    pub(super) fn lines_with(&self, text: &str) -> Vec<String> {
        let lines = String::from_utf8(self.lines.lock().unwrap().clone()).unwrap();
        lines.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }
}

#[derive(Clone)]
struct Writer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
