//! Handlers: async functions whose first argument is the event.

mod context;
mod dispatch;
mod failure;
mod options;

pub(crate) use context::{Delivered, Place, SubscriptionName};
pub use context::{Context, Meta};
pub(crate) use dispatch::{Dispatch, Registration, Slot};
pub(crate) use failure::Verdict;
pub use failure::{Failure, Reject};
pub(crate) use options::Limit;
pub use options::{Options, Order, Retry};
