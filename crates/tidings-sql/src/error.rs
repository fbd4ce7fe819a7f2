//! What SQLite says, in the terms of the broker trait.

use std::{path::Path, sync::Arc};

use tidings_core::{BoxError, BrokerError, PublishError};

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{file} is locked: another program has had it for {} s", crate::sqlite::BUSY_TIMEOUT.as_secs())]
    Locked {
        file: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("{file} cannot be written")]
    Unwritable {
        file: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("{file} is damaged")]
    Damaged {
        file: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("{file} found no room: its disk, or the quota that it counts against, is full; free some, or lower max_bytes")]
    DiskFull {
        file: String,
        #[source]
        source: sqlx::Error,
    },
    /// Linux answers so for a quota or a limit on a file's size, and a disk that breaks does too.
    #[error(
        "writing to {file} failed: a quota or limit of its size may be reached, or its disk is failing; raise the one, look after the other, or lower max_bytes"
    )]
    NotWritten {
        file: String,
        #[source]
        source: sqlx::Error,
    },
    #[error("{file}: no answer")]
    Other {
        file: String,
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Sorts by the codes of <https://www.sqlite.org/rescode.html>, whose low byte is the primary one.
    pub(crate) fn of(path: &Path, source: sqlx::Error) -> Self {
        /// `SQLITE_IOERR_` `WRITE`, `FSYNC`, `DIR_FSYNC`, `TRUNCATE` and `SHMSIZE`.
        const WRITING: [i32; 5] = [778, 1034, 1290, 1546, 4874];
        let file = path.display().to_string();
        match primary_code(&source) {
            _ if is_busy(&source) => Self::Locked { file, source },
            Some(11 | 26) => Self::Damaged { file, source },
            Some(3 | 8 | 14 | 23) => Self::Unwritable { file, source },
            Some(13) => Self::DiskFull { file, source },
            Some(10) if code(&source).is_some_and(|code| WRITING.contains(&code)) => Self::NotWritten { file, source },
            _ => Self::Other { file, source },
        }
    }

    /// With what SQLite said.
    pub(crate) fn with_source(&self) -> String {
        let source = std::error::Error::source(self).map_or_else(String::new, |source| format!(": {source}"));
        format!("{self}{source}")
    }

    pub(crate) fn into_broker_error(self) -> BrokerError {
        Arc::new(self).to_broker_error()
    }

    /// One failure is told to all whose work was in the transaction.
    pub(crate) fn to_broker_error(self: &Arc<Self>) -> BrokerError {
        let broker = crate::sqlite::NAME.to_owned();
        match &**self {
            Self::Damaged { file, source } => BrokerError::Corrupt {
                place: file.clone(),
                reason: format!("{}; bring back a copy of it, or move it away to begin anew", words_of(source)),
            },
            Self::Unwritable { file, source } => {
                BrokerError::Refused { broker, reason: format!("{file} cannot be written: {}", words_of(source)) }
            }
            Self::Locked { .. } | Self::DiskFull { .. } | Self::NotWritten { .. } | Self::Other { .. } => {
                BrokerError::Unavailable { broker, source: Arc::clone(self).into() }
            }
        }
    }
}

/// What SQLite says, without what sqlx says around it.
fn words_of(error: &sqlx::Error) -> String {
    error.as_database_error().map_or_else(|| error.to_string(), |said| said.message().to_owned())
}

/// The row stays where it is until somebody mends the file: refusing it for good would lose it.
pub(crate) fn not_published(error: impl Into<BoxError>) -> PublishError {
    PublishError::Unavailable(error.into())
}

/// Whether another one kept it from writing: `SQLITE_BUSY`, `SQLITE_LOCKED`, or the lock beside the file.
pub(crate) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(5 | 6))
        || matches!(error, sqlx::Error::Io(error) if error.kind() == std::io::ErrorKind::ResourceBusy)
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    code(error).map(|code| code & 0xff)
}

fn code(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}
