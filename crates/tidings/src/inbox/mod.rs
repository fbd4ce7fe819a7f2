//! Handlers whose effects are in the database: done once, however often the message comes.
//!
//! Here: [`Tx`], the transaction that a handler's own writes, its events and the record of the message commit in together; that
//! record, the inbox; [`Dedup`], the same for effects that no transaction can hold. Not here: how a handler is called
//! (`handlers`), and what moves its events on (`outbox`).
//!
//! The table has one row for each message that a subscription has handled: whoever inserts it first handles the message, and a
//! second one that comes meanwhile waits for the first one's commit. Rows go when no broker can bring their messages again.

#![cfg_attr(
    not(all(feature = "postgres", feature = "sqlite")),
    allow(dead_code, unused_variables, reason = "what only the other database uses")
)]

mod dedup;
mod engine;
mod sweep;
mod tx;

use std::time::Duration;

use tidings_core::{Members, Message, Text};

use crate::{
    database::{Database, DatabaseError, Migrations},
    delivery::Limits,
    handlers::{Options, Registration},
    outbox::Outbox,
};
pub use dedup::Dedup;
pub(crate) use sweep::Inbox;
pub use tx::{HasPool, Tx, TxDatabase};

const MIGRATIONS: Migrations =
    Migrations { component: "inbox", sqlite: &[include_str!("sqlite.sql")], postgres: &[include_str!("postgres.sql")] };

/// What the transactions of a subscription's handlers need; clones are cheap.
#[derive(Debug, Clone)]
pub(crate) struct Transactions {
    /// Where their events go, in the same database.
    pub(crate) outbox: Outbox,
    /// What the inbox calls the subscription.
    pub(crate) subscription: Text,
    /// How long a handler may keep one, where nobody else can write meanwhile.
    pub(crate) hold: Option<Duration>,
    /// How long an attempt may take, and so the statements in it.
    pub(crate) attempt: Duration,
}

/// A subscription's place in a database: what its transactions are made of, but for their limits.
#[derive(Debug, Clone)]
pub(crate) struct Joined {
    database: Database,
    outbox: Outbox,
    subscription: Text,
}

impl Joined {
    /// The place of `registration` in its handler's database; of an instance's own subscription, the instance is part of the name.
    pub(crate) fn of(registration: &Registration, database: Database, outbox: Outbox, instance: &str) -> Self {
        let name = name_of(registration);
        let subscription = match registration.options.members {
            Some(Members::Each) => format!("{name} {instance}"),
            _ => name,
        };
        Self { database, outbox, subscription: subscription.into() }
    }

    /// Its transactions, within the limits of the subscription.
    pub(crate) fn transactions(self, options: &Options, limits: &Limits) -> Transactions {
        let attempt = options.timeout.unwrap_or(limits.handler_timeout);
        let hold = match self.database {
            #[cfg(feature = "sqlite")]
            Database::Sqlite(_) => Some(options.timeout.unwrap_or(limits.transaction_timeout.min(attempt))),
            #[cfg(feature = "postgres")]
            Database::Postgres(_) => None,
        };
        Transactions { outbox: self.outbox, subscription: self.subscription, hold, attempt }
    }
}

/// What the names of a subscription's rows begin with.
fn name_of(Registration { group, pattern, .. }: &Registration) -> String {
    format!("{group} {pattern}")
}

/// Makes the inbox's table, if it is absent.
pub(crate) async fn prepare(database: &Database) -> Result<(), DatabaseError> {
    database.migrate(&MIGRATIONS).await
}

/// A message, as the inbox knows it.
#[doc(hidden)]
#[derive(Debug)]
pub struct Record {
    subscription: Text,
    source: Text,
    id: String,
}

impl Record {
    fn of(subscription: &Text, message: &Message) -> Self {
        Self { subscription: subscription.clone(), source: message.source().as_str().into(), id: message.id().to_string() }
    }
}

#[cfg(test)]
mod tests;
