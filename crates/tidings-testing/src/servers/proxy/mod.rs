//! A TCP proxy between a client and a server, which a test makes slow, silent or broken at a moment of its choice.
//!
//! What lives here: what a test says to it, and the way in. What becomes of one connection is in `carry`. Nothing here knows
//! what is said over a connection.

mod carry;

use super::free_port;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A TCP proxy in front of a server. It passes everything on until a test says otherwise.
///
/// ```no_run
/// # async fn test() -> Option<()> {
/// use std::time::Duration;
/// use tidings_testing::servers::{Nats, Proxy};
///
/// let nats = Nats::start().await?;
/// let proxy = Proxy::start(nats.address()).await;
/// let url = proxy.instead_of(&nats.url());
/// proxy.delay(Duration::from_millis(200));
/// proxy.cut();
/// proxy.heal();
/// # Some(())
/// # }
/// ```
///
/// It holds back at most some 1 MiB each way of a connection; then the sender waits, as for a slow network. It and all its
/// connections end when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    server: String,
    port: u16,
    link: watch::Sender<Link>,
    connections: Arc<AtomicU64>,
    /// The way in, which holds every connection.
    entrance: JoinHandle<()>,
}

/// How the link is at the moment, and how often its connections were ended so far.
#[derive(Debug, Clone, Copy)]
struct Link {
    passage: Passage,
    delay: Duration,
    /// Bytes a second each way; `None`: as they come.
    rate: Option<u64>,
    ends: u64,
    /// How the last end was.
    how: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passage {
    Open,
    Shut,
    Swallows,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

impl Proxy {
    /// Listens on a free port of `127.0.0.1`, in front of the server at this `host:port`, which need not be there yet.
    ///
    /// # Panics
    /// When it cannot listen.
    #[expect(clippy::expect_used, reason = "a proxy that does not listen fails the test")]
    pub async fn start(server: impl Into<String>) -> Self {
        let (server, port) = (server.into(), free_port());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("the proxy's port");
        let open = Link { passage: Passage::Open, delay: Duration::ZERO, rate: None, ends: 0, how: End::Closed };
        let (link, follow) = watch::channel(open);
        let connections = Arc::new(AtomicU64::new(0));
        let entrance = tokio::spawn(enter(listener, server.clone(), follow, Arc::clone(&connections)));
        Self { server, port, link, connections, entrance }
    }

    /// `127.0.0.1:PORT`, where it listens.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// This URL of the server, with the proxy's address in the place of the server's.
    #[must_use]
    pub fn instead_of(&self, url: &str) -> String {
        url.replace(&self.server, &self.address())
    }

    /// How many connections it has taken so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// Everything takes this much longer from now on, each way. What is on its way already is not held up.
    pub fn delay(&self, delay: Duration) {
        self.link.send_modify(|link| link.delay = delay);
    }

    /// No more than so many bytes a second pass each way of a connection. With 0 none does, and none is lost: they wait
    /// for [`heal`](Self::heal) or another rate.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.link.send_modify(|link| link.rate = Some(bytes_per_second));
    }

    /// Closes all connections, and each new one at once, until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.link.send_modify(|link| {
            link.passage = Passage::Shut;
            link.end(End::Closed);
        });
    }

    /// Swallows what comes from either side, and what is on its way: nothing arrives, nothing is closed, and nobody is told, not
    /// even that the other side has gone. New connections are taken and lead nowhere.
    ///
    /// [`heal`](Self::heal) resets the connections of this time, since there is a hole in what they said. To hold bytes back without
    /// losing them, [`throttle`](Self::throttle) them to 0.
    pub fn half_open(&self) {
        self.link.send_modify(|link| link.passage = Passage::Swallows);
    }

    /// Resets all connections (RST): both sides get an error, and what was on its way is gone. New ones pass.
    pub fn reset(&self) {
        self.link.send_modify(|link| link.end(End::Reset));
    }

    /// Everything passes again, at once and as fast as it comes; only what is being delayed still arrives when it was to.
    pub fn heal(&self) {
        self.link.send_modify(|link| {
            if link.passage == Passage::Swallows {
                link.end(End::Reset);
            }
            *link = Link { passage: Passage::Open, delay: Duration::ZERO, rate: None, ..*link };
        });
    }
}

impl Link {
    fn end(&mut self, how: End) {
        self.ends += 1;
        self.how = how;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.entrance.abort();
    }
}

/// Takes connections until it is aborted; they end with it.
async fn enter(listener: TcpListener, server: String, link: watch::Receiver<Link>, count: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let now = *link.borrow();
                let Ok((client, _)) = accepted else { continue };
                if now.passage != Passage::Shut {
                    count.fetch_add(1, Ordering::Relaxed);
                    connections.spawn(carry::carry(client, server.clone(), link.clone(), now.ends));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}
