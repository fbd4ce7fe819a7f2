//! `users create|get|list|auth|validate`: the calls of a running user-service, for people and scripts.
//!
//! Answers go to standard output, one user a line, fields parted by tabs; what goes wrong is one line and an exit code that
//! is not 0.

mod calls;
mod command;
mod secret;

pub use self::{calls::ClientError, command::Call};
