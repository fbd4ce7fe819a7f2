//! Private servers, a test service for Tidings programs (feature `service`) and the conformance suite for brokers (`suite`).

pub mod faults;
#[cfg(unix)]
pub mod servers;
#[cfg(feature = "service")]
pub mod service;

#[cfg(feature = "suite")]
pub mod suite;

#[cfg(feature = "service")]
pub use service::TestService;

/// The examples of the page compile and do what it says.
#[cfg(all(doctest, unix, feature = "service"))]
#[doc = include_str!("../../../docs/testing-your-service.md")]
mod page {}
