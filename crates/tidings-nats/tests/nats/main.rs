//! Both engines against real servers, each test with a private one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper, too, stops its test")]

mod common;
mod connecting;
mod core;
mod faults;
mod go_micro;
mod jetstream;
mod streams;
