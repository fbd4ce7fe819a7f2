//! End to end: the real programs as processes, over real servers, seen from outside.
//!
//! Each test is one promise of the whole line, from the call that creates a user to the mail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests stop at the first surprise")]

mod admin;
mod brokers;
mod drain;
mod embedded;
mod groups;
mod kills;
mod once;
mod outage;
mod outside;
mod python;
mod refusals;
mod smtp;
mod support;
mod trace;
