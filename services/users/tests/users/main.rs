//! The whole user-service, called over real connections.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails says where; clippy.toml exempts only what is inside `#[test]`"
)]

mod calls;
mod client;
mod support;
mod wire;
