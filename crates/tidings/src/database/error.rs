//! What can go wrong with a service's database.

use std::path::PathBuf;

/// Why a database could not be opened, migrated or asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL is wrong.
    #[error("database URL {url}: {reason}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong, and what is allowed.
        reason: String,
    },
    /// It cannot be reached, or refuses the login; waited for as long as `--wait` says.
    #[error("database {place} cannot be reached")]
    Unavailable {
        /// Where, without secrets.
        place: String,
        /// What the driver said.
        #[source]
        source: sqlx::Error,
    },
    /// The file is not a SQLite database, or a damaged one.
    #[error("database file {} is damaged or no SQLite database: move it away, or restore a copy", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// Another program keeps the file locked.
    #[error("database file {} is locked by another program: end that one, and start again", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// The file, or its folder, cannot be made or opened.
    #[error("database file {} cannot be opened", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The tables were made by another version of the program.
    #[error("tables of `{component}` are at step {found}, and this program knows {known}: run the newer version")]
    Newer {
        /// Whose tables.
        component: &'static str,
        /// The step they are at.
        found: usize,
        /// The steps that there are.
        known: usize,
    },
    /// A step that was taken once is another one now.
    #[error("step {step} of the tables of `{component}` is not the one that was taken here")]
    Changed {
        /// Whose tables.
        component: &'static str,
        /// Which step, from 1.
        step: usize,
    },
    /// A step failed; none of it remains.
    #[error("step {step} of the tables of `{component}` failed")]
    Step {
        /// Whose tables.
        component: &'static str,
        /// Which step, from 1.
        step: usize,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A query failed.
    #[error("the database did not answer")]
    Query(#[from] sqlx::Error),
}
