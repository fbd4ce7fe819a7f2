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
    #[error("{file}: no answer")]
    Other {
        file: String,
        #[source]
        source: sqlx::Error,
    },
}

impl StoreError {
    /// Sorts by the primary code, the low byte of <https://www.sqlite.org/rescode.html>.
    pub(crate) fn of(path: &Path, source: sqlx::Error) -> Self {
        let file = path.display().to_string();
        match primary_code(&source) {
            _ if is_busy(&source) => Self::Locked { file, source },
            Some(11 | 26) => Self::Damaged { file, source },
            Some(3 | 8 | 14 | 23) => Self::Unwritable { file, source },
            _ => Self::Other { file, source },
        }
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
            Self::Locked { .. } | Self::Other { .. } => BrokerError::Unavailable { broker, source: Arc::clone(self).into() },
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
    let code = error.as_database_error()?.code()?;
    code.parse::<i32>().ok().map(|code| code & 0xff)
}
