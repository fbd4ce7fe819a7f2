//! Private servers and a test service for Tidings programs.

#[cfg(unix)]
pub mod servers;
