//! Where typed handlers meet the delivery loop, which knows no types.

use std::sync::Arc;

use tidings_core::TopicPattern;
use tokio_util::sync::ReusableBoxFuture;

use super::{Context, Failure, Options};

/// The future of one attempt, in a box that the next one reuses.
pub(crate) type Slot = ReusableBoxFuture<'static, Result<(), Failure>>;

/// A handler without its types. An undecodable body is a [`Failure::reject`]; panics and timeouts are the loop's.
pub(crate) trait Dispatch: Send + Sync {
    /// Puts the future of this attempt into `slot`; it is polled by the loop.
    fn dispatch(&self, context: Context, slot: &mut Slot);
}

/// A handler and what it is registered for.
#[derive(Clone)]
pub(crate) struct Registration {
    /// What it subscribes to.
    pub(crate) pattern: TopicPattern,
    /// What differs from the default.
    pub(crate) options: Options,
    /// What is called.
    pub(crate) handler: Arc<dyn Dispatch>,
    /// The handler's type name, for logs and errors.
    pub(crate) name: &'static str,
}

impl std::fmt::Debug for Registration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registration").field("pattern", &self.pattern).field("handler", &self.name).finish_non_exhaustive()
    }
}
