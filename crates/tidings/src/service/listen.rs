//! Listening where a setting says.

use std::{io, net::SocketAddr};

use tokio::net::TcpListener;

use super::ServiceError;
use crate::settings::{Address, Settings};

/// Listens on the address of the setting `name`; answers where that is, port 0 made out.
pub(super) async fn listen(
    settings: &Settings,
    name: &str,
    address: &Address,
) -> Result<(TcpListener, SocketAddr), ServiceError> {
    let listener = bind(address).await;
    listener
        .and_then(|listener| listener.local_addr().map(|address| (listener, address)))
        .map_err(|source| ServiceError::Listen { address: address.to_string(), setting: settings.origin(name), source })
}

async fn bind(address: &Address) -> io::Result<TcpListener> {
    match address.host() {
        Some(host) => TcpListener::bind((host, address.port())).await,
        // Every interface of both families, where the system has IPv6.
        None => match TcpListener::bind(("::", address.port())).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => TcpListener::bind(("0.0.0.0", address.port())).await,
            bound => bound,
        },
    }
}
