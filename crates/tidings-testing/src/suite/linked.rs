//! A server of a case's own, with a proxy in front of it that breaks the link.

use tidings_core::url;

use crate::servers::Proxy;

use super::engine::{Place, Server};

/// A server, reached directly or through a proxy.
pub(super) struct Linked {
    server: Box<dyn Server>,
    pub(super) proxy: Proxy,
}

impl Linked {
    pub(super) async fn to(place: &Place) -> Self {
        let server = place.server().await;
        let url = url::parse(&server.url()).unwrap();
        let (host, port) = url.host_str().zip(url.port()).expect("a server's URL says its host and port");
        let proxy = Proxy::start(format!("{host}:{port}")).await;
        Self { server, proxy }
    }

    /// The URL that leads to the server itself.
    pub(super) fn direct(&self) -> String {
        self.server.url()
    }

    /// The URL that leads through the proxy.
    pub(super) fn weak(&self) -> String {
        self.proxy.instead_of(&self.server.url())
    }
}
