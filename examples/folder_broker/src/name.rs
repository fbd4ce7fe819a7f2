//! What a message's file is called: what changes of a message while its content stays.

use std::{
    fmt, process,
    sync::{Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// `<when>-<process>.<attempts>.<deliveries>.<due>`: sorted by name, files are in the order of their publishing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) id: String,
    pub(crate) attempts: u32,
    pub(crate) deliveries: u32,
    /// Nobody gets it before, in nanoseconds since 1970.
    pub(crate) due: u64,
}

impl Name {
    pub(crate) fn new() -> Self {
        Self { id: unique(), attempts: 0, deliveries: 0, due: 0 }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let id = parts.next().filter(|id| !id.is_empty())?.to_owned();
        let (attempts, deliveries) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let due = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { id, attempts, deliveries, due })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, attempts, deliveries, due } = self;
        write!(f, "{id}.{attempts}.{deliveries}.{due}")
    }
}

/// What no other message and no other instance is called; later ones sort behind earlier ones.
pub(crate) fn unique() -> String {
    static LAST: Mutex<u64> = Mutex::new(0);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    *last = now().max(*last + 1);
    // The clock may answer two processes with the same time.
    format!("{:020}-{}", *last, process::id())
}

/// Nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
