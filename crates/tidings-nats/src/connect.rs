//! The connection that a broker's parts share: opened once, coming back by itself until it is closed.
//!
//! Here: opening it with a clear error, asking the server something, the round trip that proves that everything before it
//! arrived, and what is known of the connection's state. Not here: what is published or read over it.

use std::{
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    path::{Path, PathBuf},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use async_nats::{ConnectOptions, Event, Statistics, Subject, connection::State};
use bytes::Bytes;
use futures_util::StreamExt;
use tidings_core::{BoxError, BrokerError, Client, Health, Link};
use tokio::{
    sync::watch,
    time::{Instant, error::Elapsed, timeout},
};

use crate::{
    failure,
    settings::{Connect, Login, Tls},
};

/// How long one server may take to greet.
const GREETING: Duration = Duration::from_secs(3);
/// How long the server may take to answer anything.
pub(crate) const ANSWER: Duration = Duration::from_secs(3);
/// Between two looks at whether the server answers.
pub(crate) const LOOK: Duration = Duration::from_millis(750);
/// A server that takes longer to come back from a round trip is down, as far as health goes.
const SILENCE: Duration = Duration::from_secs(1);
/// After three of them without a word the client counts the connection as lost.
const PING: Duration = Duration::from_secs(3);
/// The longest wait before the next try to come back.
const LONGEST_RECONNECT: Duration = Duration::from_secs(2);
/// How long a task of a closed broker, that finds the server away, may sleep on: there is no way to end it.
const NEVER: Duration = Duration::from_secs(24 * 3600);

/// A connection, or the want of one for the moment.
pub(crate) struct Connection {
    pub(crate) client: async_nats::Client,
    /// The scheme.
    pub(crate) engine: &'static str,
    /// The servers, without secrets.
    pub(crate) label: String,
    statistics: Arc<Statistics>,
    events: Arc<Events>,
    silent: AtomicBool,
}

/// What the client tells of itself.
struct Events {
    label: String,
    /// When the connection last broke; every change wakes who waits for news.
    broke: watch::Sender<Option<Instant>>,
    closed: AtomicBool,
    /// Messages that found the buffer of their subscription full.
    dropped: AtomicU64,
}

impl Connection {
    /// Connects, trying each server once.
    pub(crate) async fn open(
        engine: &'static str,
        connect: Connect,
        client: &Client,
        buffer: usize,
    ) -> Result<Arc<Self>, BrokerError> {
        let events = Arc::new(Events {
            label: connect.label.clone(),
            broke: watch::Sender::new(None),
            closed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        let options = options(&connect, client, &events, buffer).await?;
        let Connect { servers, label, .. } = connect;
        let opened = options.connect(servers).await.map_err(|error| failure::of_connect(&label, error))?;
        let statistics = opened.statistics();
        Ok(Arc::new(Self { client: opened, engine, label, statistics, events, silent: AtomicBool::new(false) }))
    }

    /// The number of the connection: another one after each reconnect.
    pub(crate) fn link(&self) -> Link {
        Link(self.statistics.connects.load(Ordering::Relaxed))
    }

    /// Fails when nothing can be sent now: what waits in the client would go out at some later time.
    pub(crate) fn ready(&self) -> Result<(), BrokerError> {
        if self.is_closed() {
            return Err(BrokerError::Closed { broker: self.engine });
        }
        if self.is_up() { Ok(()) } else { Err(self.unavailable("the connection is lost, and being made again")) }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.events.closed.load(Ordering::SeqCst)
    }

    /// Wakes at every change: the connection broke, is back, or was closed.
    pub(crate) fn news(&self) -> News {
        News(self.events.broke.subscribe())
    }

    pub(crate) fn unavailable(&self, source: impl Into<BoxError>) -> BrokerError {
        BrokerError::Unavailable { broker: self.label.clone(), source: source.into() }
    }

    pub(crate) fn refused(&self, reason: impl Into<String>) -> BrokerError {
        BrokerError::Refused { broker: self.label.clone(), reason: reason.into() }
    }

    /// Comes back when the server has everything that was sent before: through an inbox of our own, since the client's
    /// `flush` is only a write to the socket.
    pub(crate) async fn round_trip(&self, limit: Duration) -> Result<(), BrokerError> {
        self.ready()?;
        let broken = self.broken();
        let inbox = Subject::from(self.client.new_inbox());
        let trip = async {
            let mut back = self.client.subscribe(inbox.clone()).await.map_err(|error| self.unavailable(error))?;
            self.client.publish(inbox, Bytes::new()).await.map_err(|error| self.unavailable(error))?;
            tokio::select! {
                message = back.next() => message.map(|_| ()).ok_or(BrokerError::Closed { broker: self.engine }),
                () = broken => Err(self.unavailable("the connection was lost meanwhile")),
            }
        };
        timeout(limit, trip).await.unwrap_or_else(|_| Err(self.unavailable(format!("no answer within {limit:?}"))))
    }

    /// Waits until the connection that is now up breaks, or is closed.
    pub(crate) fn broken(&self) -> impl Future<Output = ()> + use<'_> {
        let (link, mut news) = (self.link(), self.news());
        let broke = news.broke();
        async move {
            // The news that it is up may come late.
            while !self.is_closed() && self.link() == link && news.broke() == broke {
                news.changed().await;
            }
        }
    }

    /// The outcome of `sending`, or `None` when the connection breaks before it ends.
    pub(crate) async fn unless_broken<T>(&self, sending: impl Future<Output = T>) -> Option<T> {
        let mut sending = pin!(sending);
        if let Poll::Ready(done) = poll_once(sending.as_mut()).await {
            return Some(done);
        }
        tokio::select! {
            done = sending => Some(done),
            () = self.broken() => None,
        }
    }

    /// Whether the server answers, as found by the last look.
    pub(crate) fn health(&self) -> Health {
        if self.is_closed() {
            Health::Down(format!("{} is closed", self.label))
        } else if !self.is_up() {
            Health::Down(format!("{}: the connection is lost, and being made again", self.label))
        } else if self.silent.load(Ordering::Relaxed) {
            Health::Down(format!("{} does not answer", self.label))
        } else {
            Health::Up
        }
    }

    /// Finds out whether the server answers: a link can be cut without a word.
    pub(crate) async fn look(&self) {
        let silent = self.is_up() && self.round_trip(SILENCE).await.is_err();
        self.silent.store(silent, Ordering::Relaxed);
    }

    /// What the client has read so far, whoever it was for.
    pub(crate) fn bytes_read(&self) -> u64 {
        self.statistics.in_bytes.load(Ordering::Relaxed)
    }

    /// Messages that were dropped because their subscription's buffer was full. Under a flood at least so many: the
    /// client tells of those that it dropped itself through a channel of 128.
    pub(crate) fn dropped(&self) -> u64 {
        self.events.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn count_dropped(&self, more: u64) {
        self.events.dropped.fetch_add(more, Ordering::Relaxed);
    }

    /// Ends the connection after a last round trip, and every wait on it.
    pub(crate) async fn close(&self) -> Result<(), BrokerError> {
        if self.is_closed() {
            return Ok(());
        }
        let arrived = self.round_trip(ANSWER).await;
        self.events.closed.store(true, Ordering::SeqCst);
        self.events.broke.send_modify(|_| ());
        // The client is at its end already when this fails.
        let _ = timeout(ANSWER, self.client.drain()).await;
        arrived
    }
}

impl Drop for Connection {
    /// The client's own task would look for an absent server for ever.
    fn drop(&mut self) {
        self.events.closed.store(true, Ordering::SeqCst);
    }
}

/// Wakes when something about the connection changed.
pub(crate) struct News(watch::Receiver<Option<Instant>>);

impl News {
    /// Waits for the next change.
    ///
    /// # Cancel safety
    /// A change is not missed when it is dropped.
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as the connection that this is asked of.
        let _ = self.0.changed().await;
    }

    /// When the connection last broke.
    pub(crate) fn broke(&self) -> Option<Instant> {
        *self.0.borrow()
    }
}

impl Events {
    fn take(&self, event: &Event) {
        match event {
            Event::Connected => {
                if self.broke.borrow().is_some() {
                    tracing::info!(servers = self.label, "connected again");
                }
                self.broke.send_modify(|_| ());
            }
            Event::Disconnected => {
                tracing::warn!(servers = self.label, "the connection is lost, and being made again");
                self.broke.send_replace(Some(Instant::now()));
            }
            Event::SlowConsumer(_) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            Event::ServerError(error) => tracing::warn!(servers = self.label, %error, "the server complains"),
            _ => {}
        }
    }

    /// Doubles from 10 ms, and less by chance, so that a thousand clients do not come back at once.
    fn reconnect_after(&self, attempts: usize) -> Duration {
        if self.closed.load(Ordering::Relaxed) {
            return NEVER;
        }
        let Some(doublings) = attempts.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(u32::try_from(doublings).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
        let longest = Duration::from_millis(10).saturating_mul(factor).min(LONGEST_RECONNECT);
        let chance = u8::try_from(RandomState::new().hash_one(attempts) % 128).unwrap_or_default();
        longest / 2 + longest * u32::from(chance) / 256
    }
}

async fn options(connect: &Connect, client: &Client, events: &Arc<Events>, buffer: usize) -> Result<ConnectOptions, BrokerError> {
    let (taker, pacer) = (Arc::clone(events), Arc::clone(events));
    let mut options = ConnectOptions::new()
        .name(format!("{}/{}", client.service, client.instance))
        .connection_timeout(GREETING)
        .ping_interval(PING)
        .subscription_capacity(buffer)
        // Topics and patterns were checked when they were made.
        .skip_subject_validation(true)
        .reconnect_delay_callback(
            move |attempts| if attempts <= 1 { Duration::ZERO } else { pacer.reconnect_after(attempts - 1) },
        )
        .event_callback(move |event| {
            taker.take(&event);
            std::future::ready(())
        });
    match &connect.login {
        Login::Nobody => {}
        Login::Token(token) => options = options.token(token.clone()),
        Login::User(user, password) => options = options.user_and_password(user.clone(), password.clone()),
        Login::Credentials(file) => {
            options = options.credentials_file(file).await.map_err(|error| file_error(connect, "credentials", file, &error))?;
        }
    }
    options = options.require_tls(connect.tls == Tls::Required);
    if connect.tls == Tls::First {
        options = options.tls_first();
    }
    if let Some(file) = &connect.authority {
        readable(connect, "ca", file)?;
        options = options.add_root_certificates(file.clone());
    }
    if let Some((certificate, key)) = &connect.certificate {
        readable(connect, "certificate", certificate)?;
        readable(connect, "key", key)?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if let Some(prefix) = &connect.inbox {
        options = options.custom_inbox_prefix(prefix);
    }
    Ok(options)
}

/// The client reads the file at each connect and says only then, and not which, when it cannot.
fn readable(connect: &Connect, setting: &str, file: &PathBuf) -> Result<(), BrokerError> {
    std::fs::File::open(file).map(drop).map_err(|error| file_error(connect, setting, file, &error))
}

fn file_error(connect: &Connect, setting: &str, file: &Path, error: &std::io::Error) -> BrokerError {
    BrokerError::Url { url: connect.label.clone(), reason: format!("`{setting}={}` cannot be read: {error}", file.display()) }
}

/// Waits no longer than that. A future that is ready at once, as most that send are, costs no timer.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut future = pin!(future);
    match poll_once(future.as_mut()).await {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => timeout(limit, future).await,
    }
}

async fn poll_once<T>(mut future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A task that ends with whoever holds this.
pub(crate) struct Task(tokio::task::JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
