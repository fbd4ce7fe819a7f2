//! One server for all cases: each place is an account of its own, whose subjects and streams nobody else sees.
#![allow(clippy::unwrap_used, reason = "a helper, too, stops its test")]

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tidings_core::{BoxFuture, Broker, BrokerError, Client, url};
use tidings_testing::{
    servers::{Nats, NatsBuilder},
    suite::{Server, Site, unique},
};
use tokio::sync::OnceCell;

/// More than there are cases times copies.
const COUNT: usize = 2_000;

/// The server, started by the first case that asks.
pub(crate) struct Accounts {
    scheme: &'static str,
    settings: &'static str,
    server: OnceCell<Option<Nats>>,
    used: AtomicUsize,
}

impl Accounts {
    pub(crate) const fn new(scheme: &'static str, settings: &'static str) -> Self {
        Self { scheme, settings, server: OnceCell::const_new(), used: AtomicUsize::new(0) }
    }

    /// A place in an account that nobody has used.
    pub(crate) async fn site(&'static self, builder: NatsBuilder) -> Option<Site> {
        let jetstream = if self.scheme == "jetstream" { "jetstream: enabled, " } else { "" };
        let start = || async { here(builder.config(&accounts(jetstream)).start()) };
        let server = self.server.get_or_init(start).await.as_ref()?;
        let number = self.used.fetch_add(1, Ordering::Relaxed);
        assert!(number < COUNT, "there are {COUNT} accounts, and all are used");
        let Self { scheme, settings, .. } = self;
        Some(Site::new(format!("{scheme}://u{number}:p@{}{settings}", server.address()), ()))
    }
}

fn accounts(jetstream: &str) -> String {
    let mut config = "authorization { timeout: 20 }\naccounts {\n".to_owned();
    for number in 0..COUNT {
        writeln!(config, "a{number} {{ {jetstream}users: [{{ user: u{number}, password: p }}] }}").unwrap();
    }
    config + "}"
}

pub(crate) async fn open(url: String) -> Result<Arc<dyn Broker>, BrokerError> {
    let client = Client { service: "case".into(), instance: unique().to_string().into() };
    tidings_nats::open(&url::parse(&url)?, &client).await
}

/// What the future answers. It may be one that no other thread may go on with, as the servers' are.
fn here<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

/// A server that a case kills.
pub(crate) struct Private {
    nats: Nats,
    url: String,
}

impl Private {
    pub(crate) async fn start(builder: NatsBuilder, url: fn(&Nats) -> String) -> Option<Box<dyn Server>> {
        let nats = here(builder.start())?;
        let url = url(&nats);
        Some(Box::new(Self { nats, url }))
    }
}

impl Server for Private {
    fn url(&self) -> String {
        self.url.clone()
    }

    fn kill(&mut self) {
        self.nats.kill();
    }

    fn restart(&mut self) -> BoxFuture<'_, ()> {
        here(self.nats.restart());
        Box::pin(std::future::ready(()))
    }
}
