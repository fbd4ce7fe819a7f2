//! What the client says when it fails, as our errors.

use std::error::Error;

use async_nats::{ConnectError, ConnectErrorKind, rustls};
use tidings_core::BrokerError;

/// Why the connection could not be made: absent servers may come, a wrong password or certificate stays wrong.
pub(crate) fn of_connect(label: &str, error: ConnectError) -> BrokerError {
    let broker = label.to_owned();
    let refused = |reason: String| BrokerError::Refused { broker: label.to_owned(), reason };
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            refused("it does not let us in: check the user and password, the token, or the credentials file".to_owned())
        }
        ConnectErrorKind::Authentication => refused(format!("the credentials cannot sign what the server asks: {error}")),
        ConnectErrorKind::Tls => refused(tls_reason(&error.to_string())),
        _ => match certificate(&error) {
            Some(reason) => refused(tls_reason(&reason.to_string())),
            None => BrokerError::Unavailable { broker, source: error.into() },
        },
    }
}

fn tls_reason(reason: &str) -> String {
    format!("TLS failed: {reason}; `ca=FILE` names an authority of your own, `certificate=FILE` and `key=FILE` ourselves")
}

/// The client hands on what its TLS says as an I/O error, inside its own.
fn certificate(error: &ConnectError) -> Option<&rustls::Error> {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        let io = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(found) = io.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
