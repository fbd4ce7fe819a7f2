//! The user-service: stores users, gives tokens, announces `user.created`.

pub mod client;
pub mod domain;
pub mod password;
pub mod proto;
pub mod token;
