//! Which gRPC status each error is.

use std::error::Error;

use tonic::Status;
use tracing::{error, warn};

use crate::{
    domain::InvalidField,
    password::HashError,
    store::StoreError,
    token::{BadToken, SignError},
};

impl From<InvalidField> for Status {
    fn from(invalid: InvalidField) -> Self {
        Self::invalid_argument(invalid.to_string())
    }
}

impl From<BadToken> for Status {
    fn from(bad: BadToken) -> Self {
        // Why it does not hold helps only who makes one up.
        Self::unauthenticated(bad.to_string())
    }
}

impl From<StoreError> for Status {
    fn from(failed: StoreError) -> Self {
        match &failed {
            StoreError::EmailTaken => Self::already_exists(failed.to_string()),
            StoreError::Unavailable(_) => unavailable(&failed),
            _ => internal(&failed),
        }
    }
}

impl From<HashError> for Status {
    fn from(failed: HashError) -> Self {
        internal(&failed)
    }
}

impl From<SignError> for Status {
    fn from(failed: SignError) -> Self {
        internal(&failed)
    }
}

fn unavailable(failed: &(dyn Error + 'static)) -> Status {
    warn!(error = failed, "a call could not be answered");
    Status::unavailable("the database is busy or away; try again later")
}

fn internal(failed: &(dyn Error + 'static)) -> Status {
    error!(error = failed, "a call failed");
    Status::internal("the service failed; its log says why")
}
