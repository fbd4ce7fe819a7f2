//! Handlers: async functions whose first argument is the event.
//!
//! Here live what users write ([`Handlers`], [`Handler`], the arguments and results of one), the options of a subscription, and
//! the check of all that when a service starts. What runs them — lanes, attempts, time limits, dead letters — is the delivery
//! loop's, which sees them as `Dispatch` and knows no types.

#![cfg_attr(not(any(feature = "postgres", feature = "sqlite")), allow(dead_code, reason = "what only transactions need"))]

mod arguments;
mod batch;
mod batching;
mod collection;
mod context;
mod dispatch;
mod ending;
mod extract;
mod failure;
mod handler;
mod layers;
mod options;
mod outcome;
mod pause;
mod publish;
mod registrations;
mod state;

pub use arguments::{EventArgs, MessageArgs};
pub use batch::{Batch, BatchArgs, BatchFailure, IntoBatchOutcome};
pub use collection::{Complete, Handlers};
pub use context::{Context, Meta};
pub(crate) use context::{Delivered, Place, SubscriptionName};
#[doc(hidden)]
pub use dispatch::Needs;
pub(crate) use dispatch::{Dispatch, Registration, Slot, empty_slot};
pub(crate) use ending::Ending;
pub use ending::Outgoing;
pub use extract::{Early, Extract};
pub(crate) use failure::Verdict;
pub use failure::{Failure, Reject};
pub use handler::{Handler, Registered};
pub use layers::HandlerService;
pub(crate) use options::Limit;
pub use options::{Options, Order, Retry};
pub use outcome::{Announce, IntoOutcome};
pub use pause::Pause;
pub use publish::Publish;
pub use registrations::InvalidHandlers;
pub use state::{FromRef, State};

#[cfg(test)]
mod tests;
