//! The user-service: stores users, gives tokens, announces `user.created`.
//!
//! It keeps the wire contract of the go-micro tutorial's user-service. The program is thin; what it is made of is here, so that
//! another process can run it beside other services:
//!
//! ```no_run
//! # async fn example() -> tidings::Result<()> {
//! let service = users::builder().init()?;
//! users::assemble(service).await?.run().await
//! # }
//! ```

pub mod client;
pub mod domain;
pub mod event;
pub mod password;
pub mod proto;
pub mod rpc;
mod settings;
pub mod store;
pub mod token;

use std::sync::Arc;

use tidings::{Service, service::Builder, settings::Group};

use crate::{
    password::Passwords,
    proto::user_service_server::UserServiceServer,
    rpc::{Guarded, Users},
    store::Store,
    token::Tokens,
};

/// The service with its settings, not yet read.
pub fn builder() -> Builder {
    let builder = Service::builder("users", env!("CARGO_PKG_VERSION"))
        .about("Stores users, gives tokens, and announces `user.created`")
        .without(Group::Http)
        .default("address", "127.0.0.1:50051")
        .default("admin", "127.0.0.1:9101")
        .tutorial_database();
    settings::table().into_iter().fold(builder, Builder::setting)
}

/// Opens what the service needs and adds its calls; then it can run.
///
/// # Errors
/// When a setting is wrong, the database or its table cannot be used, or the key of the tokens cannot.
///
/// # Cancel safety
/// A dropped future leaves nothing open; the tables and the key may have been made.
pub async fn assemble(service: Service) -> tidings::Result<Service> {
    let settings = service.settings();
    let access = settings::access(settings)?;
    let passwords = Passwords::new(settings::hashes_at_once(settings)?);
    let tokens = Arc::new(Tokens::open(settings::token_policy(settings)?)?);
    // A generated server has a limit of its own beside the framework's.
    let largest: usize = settings.get("grpc-message")?;
    let database = service.database().await?;
    let store = Store::open(&database, service.outbox(&database).await?).await?;
    let calls = UserServiceServer::new(Users::new(store, passwords, Arc::clone(&tokens)));
    let calls = Guarded::new(calls.max_decoding_message_size(largest), access, tokens);
    Ok(service.grpc(calls).grpc_reflection(proto::DESCRIPTORS))
}
