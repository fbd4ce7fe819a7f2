//! Three private nats-servers that are one JetStream cluster.
//!
//! Here: how they find each other, when the cluster answers, and who leads what. What one server is, `nats` says.

use super::{Nats, eventually, free_port};
use serde_json::Value;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const NODES: usize = 3;
/// An election takes up to 9 s, and a second one may follow.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long one server may take to say how it is.
const ANSWER: Duration = Duration::from_secs(2);

/// A running JetStream cluster of three nodes, numbered from 0, open to all on this machine.
///
/// ```no_run
/// # async fn test() {
/// use tidings_testing::servers::NatsCluster;
///
/// let Some(mut cluster) = NatsCluster::start().await else { return };
/// let url = format!("{}&replicas=3", cluster.jetstream_url());
/// let leader = cluster.leader_of("TIDINGS").await;
/// cluster.kill(leader);
/// cluster.start_again(leader).await;
/// # }
/// ```
///
/// Its processes and its data go when this is dropped, and however the test process ends.
#[derive(Debug)]
pub struct NatsCluster {
    nodes: [Node; NODES],
}

#[derive(Debug)]
struct Node {
    nats: Nats,
    name: String,
    /// Where it says over HTTP how it is.
    monitor: u16,
}

impl NatsCluster {
    /// Starts the three side by side, and waits until they have elected a leader and each of them answers.
    ///
    /// `None` where nats-server is not installed; the test is then skipped.
    ///
    /// # Panics
    /// When that takes more than a minute.
    pub async fn start() -> Option<Self> {
        let routes = [(); NODES].map(|()| free_port());
        let [one, two, three] = [0, 1, 2].map(|number| Node::start(number, &routes));
        let (one, two, three) = tokio::join!(one, two, three);
        let cluster = Self { nodes: [one?, two?, three?] };
        eventually(PATIENCE, async || cluster.is_whole().await).await;
        Some(cluster)
    }

    /// `nats://127.0.0.1:PORT?servers=…`, with all three.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("nats")
    }

    /// [`url`](Self::url) under the scheme of the durable broker. Other settings follow after `&`, such as `replicas=3`.
    #[must_use]
    pub fn jetstream_url(&self) -> String {
        self.url_of("jetstream")
    }

    fn url_of(&self, scheme: &str) -> String {
        let [first, others @ ..] = &self.nodes;
        let others: Vec<_> = others.iter().map(|node| node.nats.address()).collect();
        format!("{scheme}://{}?servers={}", first.nats.address(), others.join(","))
    }

    /// One of the three by its number, to talk to it alone.
    ///
    /// # Panics
    /// When there is none of that number.
    #[must_use]
    pub fn node(&self, number: usize) -> &Nats {
        &self.nodes[number].nats
    }

    /// The number of the node that leads this stream. While there is none, as after a [`kill`](Self::kill), it waits for the
    /// election.
    ///
    /// # Panics
    /// When nobody leads it within a minute.
    pub async fn leader_of(&self, stream: &str) -> usize {
        eventually(PATIENCE, async || {
            for (number, node) in self.nodes.iter().enumerate() {
                if node.leads(stream).await {
                    return Some(number);
                }
            }
            None
        })
        .await
    }

    /// Ends one at once (SIGKILL). Its port and its data stay.
    ///
    /// # Panics
    /// When there is none of that number.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].nats.kill();
    }

    /// Ends one in order (SIGTERM): it gives up what it leads first. Its port and its data stay.
    ///
    /// # Panics
    /// When there is none of that number, or it does not end within 20 s.
    pub async fn stop(&mut self, number: usize) {
        self.nodes[number].nats.stop().await;
    }

    /// Starts one again on the same port and data, and waits until it has caught up with the others.
    ///
    /// # Panics
    /// When there is none of that number, it still runs, or has not caught up within a minute.
    pub async fn start_again(&mut self, number: usize) {
        let node = &mut self.nodes[number];
        node.nats.restart().await;
        eventually(PATIENCE, async || node.is_current().await).await;
    }

    /// Whether all three are there and agree on who leads them.
    async fn is_whole(&self) -> bool {
        let mut leaders = Vec::new();
        for node in &self.nodes {
            let meta = node.ask("/jsz").await.map(|answer| answer["meta_cluster"].clone()).unwrap_or_default();
            if meta["cluster_size"] != NODES || !node.is_current().await {
                return false;
            }
            leaders.push(meta["leader"].as_str().unwrap_or_default().to_owned());
        }
        self.nodes.iter().any(|node| leaders.iter().all(|leader| *leader == node.name))
    }
}

impl Node {
    async fn start(number: usize, routes: &[u16; NODES]) -> Option<Self> {
        let (name, monitor) = (format!("node-{number}"), free_port());
        let all: Vec<_> = routes.iter().map(|port| format!("\"nats://127.0.0.1:{port}\"")).collect();
        let config = format!(
            "server_name: {name}\nhttp: \"127.0.0.1:{monitor}\"\n\
             cluster {{ name: private, listen: \"127.0.0.1:{}\", routes: [{}] }}",
            routes[number],
            all.join(", ")
        );
        let nats = Nats::builder().jetstream().config(&config).start().await?;
        Some(Self { nats, name, monitor })
    }

    /// Whether it has all that the others have, as it says itself.
    async fn is_current(&self) -> bool {
        self.ask("/healthz").await.is_some_and(|answer| answer["status"] == "ok")
    }

    /// Whether it leads this stream, as it says itself: what it says of another may be out of date.
    async fn leads(&self, stream: &str) -> bool {
        let answer = self.ask("/jsz?streams=true").await.unwrap_or_default();
        let accounts = answer["account_details"].as_array().into_iter().flatten();
        let mut streams = accounts.filter_map(|account| account["stream_detail"].as_array()).flatten();
        streams.any(|found| found["name"] == stream && found["cluster"]["leader"] == self.name.as_str())
    }

    /// What it says over HTTP; `None` while it is away.
    async fn ask(&self, path: &str) -> Option<Value> {
        let text = timeout(ANSWER, get(self.monitor, path)).await.ok()?.ok()?;
        serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
    }
}

/// An answer with its head. By the old HTTP the connection ends with it, and it comes in one piece.
async fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    /// Makes a stream of three replicas, as its clients do.
    async fn make_stream(nats: &Nats, name: &str) {
        let mut stream = BufReader::new(TcpStream::connect(nats.address()).await.unwrap());
        let config = format!(r#"{{"name":"{name}","subjects":["{name}"],"num_replicas":3,"storage":"file"}}"#);
        let request = format!("PUB $JS.API.STREAM.CREATE.{name} back {}\r\n{config}\r\n", config.len());
        let hello = "CONNECT {\"verbose\":false}\r\nSUB back 1\r\n";
        stream.get_mut().write_all(format!("{hello}{request}").as_bytes()).await.unwrap();
        let mut line = String::new();
        while !line.contains("stream_create_response") {
            line.clear();
            assert_ne!(timeout(PATIENCE, stream.read_line(&mut line)).await.unwrap().unwrap(), 0);
        }
        assert!(!line.contains("\"error\""), "{line}");
    }

    #[tokio::test]
    async fn a_killed_leader_is_replaced_and_comes_back_with_its_data() {
        let Some(mut cluster) = NatsCluster::start().await else { return };
        assert_eq!(cluster.url().matches("127.0.0.1:").count(), NODES);
        make_stream(cluster.node(0), "ORDERS").await;
        let leader = cluster.leader_of("ORDERS").await;
        let address = cluster.node(leader).address();
        cluster.kill(leader);
        assert_ne!(cluster.leader_of("ORDERS").await, leader);
        cluster.start_again(leader).await;
        assert_eq!(cluster.node(leader).address(), address);
        let answer = cluster.nodes[leader].ask("/jsz?streams=true").await.unwrap();
        assert_eq!(answer["account_details"][0]["stream_detail"][0]["name"], "ORDERS");
    }
}
