//! A broker that is a folder: one file for each message, renamed to be claimed.
//!
//! ```text
//! /var/spool/tidings/                            folder:/var/spool/tidings
//!   email/                                       a group
//!     user.>/                                    what it subscribed to
//!       01795735395000000000-4711.1.2.0          a message that waits: when, by which process; attempts, deliveries, not before
//!       01795735371000000000-4712/               an instance, locked for as long as it lives
//!         01795735395000000001-4711.0.1.0        what it has in hand
//! ```
//!
//! Here: opening and closing. What is taken is in `publish`, a subscription's folder in `queue`, an instance in `instance`, the
//! halves of a subscription in `consume`, the name and the content of a file in `name` and `wire`. docs/writing-a-broker.md leads through it.
//!
//! What it promises is what [`Capabilities`] say: messages survive every process that is killed (not a loss of power: nothing
//! is synced). The folder is on a local disk of a Unix, where a rename is one step and a lock ends with its process.

mod consume;
mod instance;
mod name;
mod publish;
mod queue;
mod wire;

use std::{
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Client, Delay, EarliestStart, Health, KeyOrder, Link, Members, Message,
    PublishError, PublishFailures, Start, Subscribed, Subscription,
    url::{Query, Url, redacted},
    wire::decode_value,
};

use consume::Fetcher;
use instance::Instance;
use queue::Queue;

/// The scheme of its URLs.
pub const NAME: &str = "folder";

/// Opens `folder:PATH`; with `?poll=25ms`, how long a fetch pauses between two looks.
///
/// # Errors
/// When the URL is wrong, or the folder can neither be found nor made.
pub async fn open(url: &Url, _client: &Client) -> Result<Arc<dyn Broker>, BrokerError> {
    let mut query = Query::of(url);
    let poll = query.duration("poll")?.unwrap_or(Duration::from_millis(25));
    let root = PathBuf::from(&*decode_value(url.path()));
    if root.as_os_str().is_empty() || url.has_host() {
        return Err(query.error("a folder is `folder:PATH`, such as folder:/var/spool/tidings"));
    }
    query.finish()?;
    let opening = Opening { url: redacted(url), root, poll, instances: Mutex::new(Some(Vec::new())) };
    fs::create_dir_all(&opening.root).map_err(|error| opening.failed(error))?;
    Ok(Arc::new(Folder(Arc::new(opening))))
}

struct Folder(Arc<Opening>);

/// One opening of a folder.
struct Opening {
    url: String,
    root: PathBuf,
    poll: Duration,
    /// Those that end with it; `None` when it is closed.
    instances: Mutex<Option<Vec<Weak<Instance>>>>,
}

impl Broker for Folder {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::default();
        (can.durable, can.groups, can.wildcards, can.attempt_counts) = (true, true, true, true);
        (can.delay, can.key_order) = (Delay::Native, KeyOrder::Instance);
        (can.earliest_start, can.retention) = (EarliestStart::Now, Duration::MAX);
        can.max_message = publish::LARGEST;
        can
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            if self.0.check().is_err() {
                return Err(PublishFailures::all(batch.len(), || PublishError::Closed));
            }
            let (root, messages) = (self.0.root.clone(), batch.to_vec());
            match tokio::task::spawn_blocking(move || publish::put(&root, &messages)).await {
                Ok(failed) => PublishFailures::check(failed.into_iter().collect()),
                Err(error) => Err(PublishFailures::all(batch.len(), || PublishError::Unavailable(error.to_string().into()))),
            }
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        Box::pin(async { self.0.check().map(|()| Link(0)) })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            let Subscription { group, pattern, members, start, unsettled } = subscription;
            self.0.check()?;
            if matches!(start, Some(Start::First | Start::At(_))) {
                return Err(BrokerError::Unsupported {
                    broker: NAME,
                    capability: "start a group at a message that was published before",
                    instead: "start it now",
                });
            }
            let own = (members == Members::Each).then(name::unique);
            let queue = Queue::new(&self.0.root, group.as_str(), own.as_deref(), pattern);
            let opening = Arc::clone(&self.0);
            let mut fetcher = self.0.apart(move || Fetcher::join(opening, queue, unsettled)).await?;
            let settler = fetcher.settler();
            Ok::<Subscribed, _>((Box::new(fetcher), Arc::new(settler)))
        })
    }

    fn health(&self) -> Health {
        match self.0.check() {
            Err(closed) => Health::Down(closed.to_string()),
            Ok(()) if !self.0.root.is_dir() => Health::Down(format!("{} is no folder", self.0.url)),
            Ok(()) => Health::Up,
        }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let instances = self.0.instances().take().unwrap_or_default();
            let leaving = move || instances.iter().filter_map(Weak::upgrade).try_for_each(|instance| instance.leave());
            let opening = Arc::clone(&self.0);
            self.0.apart(move || leaving().map_err(|error| opening.failed(error))).await
        })
    }
}

impl Opening {
    fn check(&self) -> Result<(), BrokerError> {
        if self.instances().is_none() { Err(BrokerError::Closed { broker: NAME }) } else { Ok(()) }
    }

    /// An instance that ends with this opening; refused when that has been.
    fn remember(&self, instance: &Arc<Instance>) -> Result<(), BrokerError> {
        let mut instances = self.instances();
        let Some(instances) = &mut *instances else { return Err(BrokerError::Closed { broker: NAME }) };
        instances.retain(|other| other.strong_count() > 0);
        instances.push(Arc::downgrade(instance));
        Ok(())
    }

    fn instances(&self) -> MutexGuard<'_, Option<Vec<Weak<Instance>>>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: io::Error) -> BrokerError {
        // An instance's folder goes when its opening is closed.
        self.check().err().unwrap_or_else(|| BrokerError::Unavailable { broker: self.url.clone(), source: error.into() })
    }

    /// Does what blocks on a thread of its own. It goes on to its end where the future is dropped, and its answer is dropped then.
    async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, BrokerError> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|error| Err(self.failed(io::Error::other(error))))
    }
}
