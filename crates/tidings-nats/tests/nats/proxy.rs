//! A TCP proxy that can be cut, and silenced.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Stands between a client and a server.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<watch::Sender<State>>,
}

#[derive(Clone, Copy, PartialEq)]
struct State {
    /// Rises with each cut.
    cuts: u64,
    /// How many were made.
    connections: u64,
    /// Bytes go nowhere, and nobody is told.
    silent: bool,
}

impl Proxy {
    pub(crate) async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(watch::Sender::new(State { cuts: 0, connections: 0, silent: false }));
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                shared.send_modify(|state| state.connections += 1);
                tokio::spawn(carry(client, server.clone(), shared.subscribe()));
            }
        });
        Self { port, state }
    }

    /// An address with this one in place of the server's.
    pub(crate) fn instead_of(&self, server: &str, url: &str) -> String {
        url.replace(server, &format!("127.0.0.1:{}", self.port))
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// How many connections were made through it.
    pub(crate) fn connections(&self) -> u64 {
        self.state.borrow().connections
    }

    /// Lets nothing through any more, and ends nothing; or lets it through again.
    pub(crate) fn silence(&self, silent: bool) {
        self.state.send_modify(|state| state.silent = silent);
    }
}

async fn carry(mut client: TcpStream, server: String, mut state: watch::Receiver<State>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let cuts = state.borrow_and_update().cuts;
    loop {
        let now = *state.borrow_and_update();
        if now.cuts != cuts {
            return;
        }
        if now.silent {
            let _ = state.changed().await;
            continue;
        }
        tokio::select! {
            _ = copy_bidirectional(&mut client, &mut server) => return,
            _ = state.changed() => {}
        }
    }
}
