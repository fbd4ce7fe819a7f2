//! The outbox's tables.

use crate::database::Migrations;

/// Made at start, before the service writes its first event.
pub(super) const MIGRATIONS: Migrations =
    Migrations { component: "outbox", sqlite: &[include_str!("sqlite.sql")], postgres: &[include_str!("postgres.sql")] };
