//! What the suite has to know of an engine: how to make a place, how to open it, how to kill its server.

use std::{any::Any, fmt, path::Path, sync::Arc, time::Duration};
#[cfg(unix)]
use std::{path::PathBuf, sync::LazyLock};

use tempfile::TempDir;
use tidings_core::{BoxFuture, Broker, BrokerError};

use super::{
    reader::{DEADLINE, within},
    results::Figures,
};

type Make<T> = Arc<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>;
type Open = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Arc<dyn Broker>, BrokerError>> + Send + Sync>;

/// An engine, as the suite uses it. A clone is the same one.
#[derive(Clone)]
pub struct Engine {
    pub(super) name: &'static str,
    site: Make<Option<Site>>,
    open: Open,
    server: Option<Make<Option<Box<dyn Server>>>>,
    pub(super) other_processes: bool,
    pub(super) side_by_side: usize,
    pub(super) patience: Duration,
    /// What the case that runs on this clone measures.
    pub(super) figures: Arc<Figures>,
}

/// A fresh place of an engine, empty and nobody else's: topics and groups of two places never meet.
///
/// A new file, a new name, a server of its own, or an account of a server that several places share.
pub struct Site {
    url: String,
    _keep: Box<dyn Any + Send + Sync>,
}

/// A private server that a case kills and starts again.
pub trait Server: Send + Sync {
    /// Where a broker finds it; the same after a restart.
    fn url(&self) -> String;

    /// Ends it at once (SIGKILL). What it keeps stays.
    fn kill(&mut self);

    /// Starts it again at the same place with what it kept, and waits until it answers.
    fn restart(&mut self) -> BoxFuture<'_, ()>;
}

impl Site {
    /// A place that a broker finds by `url`, and that is there for as long as `keep` is.
    pub fn new(url: impl Into<String>, keep: impl Any + Send + Sync) -> Self {
        Self { url: url.into(), _keep: Box::new(keep) }
    }

    /// A place in a new folder, found by the URL that is made of the folder's path.
    ///
    /// The folder goes with the place, and on Unix at the latest when this process ends, in whatever way.
    pub fn in_folder(url: impl FnOnce(&Path) -> String) -> Self {
        let folder = new_folder();
        Self::new(url(folder.path()), folder)
    }
}

#[cfg(unix)]
fn new_folder() -> TempDir {
    static ALL: LazyLock<PathBuf> = LazyLock::new(|| crate::servers::folder("places"));
    TempDir::new_in(&*ALL).expect("a folder in the temporary folder")
}

#[cfg(not(unix))]
fn new_folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

impl Engine {
    /// An engine of that name, its places made by `site`, brokers on them opened by `open` with the place's URL.
    ///
    /// `site` answers `None` where its server is not installed: the whole run is then skipped.
    pub fn new<S, O>(
        name: &'static str,
        site: impl Fn() -> S + Send + Sync + 'static,
        open: impl Fn(String) -> O + Send + Sync + 'static,
    ) -> Self
    where
        S: Future<Output = Option<Site>> + Send + 'static,
        O: Future<Output = Result<Arc<dyn Broker>, BrokerError>> + Send + 'static,
    {
        Self {
            name,
            site: Arc::new(move || Box::pin(site())),
            open: Arc::new(move |url| Box::pin(open(url))),
            server: None,
            other_processes: false,
            side_by_side: SIDE_BY_SIDE,
            patience: DEADLINE,
            figures: Arc::default(),
        }
    }

    /// A place can be opened from another process, by its URL: the test program runs itself again and is killed.
    #[must_use]
    pub fn in_other_processes(mut self) -> Self {
        self.other_processes = true;
        self
    }

    /// So many cases run at once, where the test's arguments say nothing: few for an engine that works in this process, many
    /// for one that lets it wait.
    #[must_use]
    pub fn side_by_side(mut self, cases: usize) -> Self {
        self.side_by_side = cases;
        self
    }

    /// A case that waits so long for one thing has failed; [`DEADLINE`] by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The engine is a server, and `start` starts one for a case of its own to kill.
    #[must_use]
    pub fn with_server<S>(mut self, start: impl Fn() -> S + Send + Sync + 'static) -> Self
    where
        S: Future<Output = Option<Box<dyn Server>>> + Send + 'static,
    {
        self.server = Some(Arc::new(move || Box::pin(start())));
        self
    }

    pub(super) fn has_server(&self) -> bool {
        self.server.is_some()
    }

    /// A new place; `None` where the engine is not installed.
    pub(super) async fn place(&self) -> Option<Place> {
        let site = within((self.site)()).await?;
        Some(Place { engine: self.clone(), site })
    }

    /// Opens a broker by a URL, once.
    pub(super) async fn try_open(&self, url: &str) -> Result<Arc<dyn Broker>, BrokerError> {
        within((self.open)(url.to_owned())).await
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").finish_non_exhaustive()
    }
}

/// Where one case runs.
pub(super) struct Place {
    engine: Engine,
    site: Site,
}

impl Place {
    /// A broker here; each call makes an instance of its own.
    pub(super) async fn open(&self) -> Arc<dyn Broker> {
        self.open_at(&self.site.url).await
    }

    /// A broker elsewhere.
    pub(super) async fn open_at(&self, url: &str) -> Arc<dyn Broker> {
        self.engine.try_open(url).await.unwrap()
    }

    pub(super) async fn try_open_at(&self, url: &str) -> Result<Arc<dyn Broker>, BrokerError> {
        self.engine.try_open(url).await
    }

    pub(super) fn url(&self) -> &str {
        &self.site.url
    }

    /// A server that is this case's alone.
    pub(super) async fn server(&self) -> Box<dyn Server> {
        let start = self.engine.server.as_ref().expect("a case that kills servers says that it needs one");
        tokio::time::timeout(STARTED, start()).await.expect("the server does not start").expect("the server was there before")
    }

    /// The URL of a place with the engine's usual room, which a part of a shared server may not have; and what it lives by.
    pub(super) async fn of_usual_size(&self) -> (String, Option<Box<dyn Server>>) {
        if !self.engine.has_server() {
            return (self.site.url.clone(), None);
        }
        let server = self.server().await;
        (server.url(), Some(server))
    }

    pub(super) fn figures(&self) -> &Figures {
        &self.engine.figures
    }

    pub(super) fn engine_name(&self) -> &'static str {
        self.engine.name
    }
}

const SIDE_BY_SIDE: usize = 4;
/// A server of its own starts within this, on a busy machine too.
const STARTED: Duration = Duration::from_secs(30);
