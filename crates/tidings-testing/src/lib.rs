//! Private servers and a test service for Tidings programs.

#[cfg(unix)]
pub mod servers;
#[cfg(feature = "service")]
pub mod service;

#[cfg(feature = "service")]
pub use service::TestService;
