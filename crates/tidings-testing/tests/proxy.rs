//! What a proxy does to a connection, seen with plain sockets on both sides of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper, too, stops its test")]
#![cfg(unix)]

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};
use tidings_testing::servers::{Proxy, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);
/// Longer than anything takes that passes at once.
const MOMENT: Duration = Duration::from_millis(200);

/// A server that the test itself is, with a proxy before it.
struct Ground {
    listener: TcpListener,
    proxy: Proxy,
}

impl Ground {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap().to_string()).await;
        Self { listener, proxy }
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }

    /// Both ends of a new connection.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let client = self.client().await;
        (client, timeout(SOON, self.listener.accept()).await.expect("a connection in time").unwrap().0)
    }
}

/// That `to` receives exactly what `from` says.
async fn passes(from: &mut TcpStream, to: &mut TcpStream) {
    from.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    timeout(SOON, to.read_exact(&mut heard)).await.expect("bytes in time").unwrap();
    assert_eq!(&heard, b"hello");
}

/// Everything that comes, and how it ends.
async fn rest(stream: &mut TcpStream) -> (Vec<u8>, io::Result<usize>) {
    let mut heard = Vec::new();
    let end = timeout(SOON, stream.read_to_end(&mut heard)).await.expect("an end in time");
    (heard, end)
}

fn is_reset(end: &io::Result<usize>) -> bool {
    end.as_ref().is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[tokio::test]
async fn it_passes_both_ways_and_the_end_of_each_side() {
    let ground = Ground::new().await;
    let (mut client, mut server) = ground.connect().await;
    passes(&mut client, &mut server).await;
    passes(&mut server, &mut client).await;
    client.shutdown().await.unwrap();
    assert!(matches!(rest(&mut server).await, (heard, Ok(0)) if heard.is_empty()));
    // The other way is open still.
    passes(&mut server, &mut client).await;
    drop(server);
    assert!(rest(&mut client).await.1.is_ok());
    assert_eq!(ground.proxy.connections(), 1);
}

#[tokio::test]
async fn a_reset_of_one_side_is_one_to_the_other() {
    let ground = Ground::new().await;
    let (mut client, server) = ground.connect().await;
    server.set_zero_linger().unwrap();
    drop(server);
    assert!(is_reset(&rest(&mut client).await.1));
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_the_connection() {
    let ground = Ground::new().await;
    drop(ground.listener);
    let mut client = TcpStream::connect(ground.proxy.address()).await.unwrap();
    assert!(is_reset(&rest(&mut client).await.1));
}

#[tokio::test]
async fn a_delay_is_there_each_way_and_holds_up_nothing_behind_it() {
    const DELAY: Duration = Duration::from_millis(300);
    let ground = Ground::new().await;
    let (mut client, mut server) = ground.connect().await;
    ground.proxy.delay(DELAY);
    let begin = Instant::now();
    passes(&mut client, &mut server).await;
    assert!(begin.elapsed() >= DELAY, "{:?}", begin.elapsed());
    passes(&mut server, &mut client).await;
    assert!(begin.elapsed() >= 2 * DELAY, "{:?}", begin.elapsed());

    // Twenty pieces that waited for each other would take 6 s.
    let begin = Instant::now();
    for _ in 0..20 {
        client.write_all(b"x").await.unwrap();
        tokio::task::yield_now().await;
    }
    server.read_exact(&mut [0; 20]).await.unwrap();
    assert!((DELAY..10 * DELAY).contains(&begin.elapsed()), "{:?}", begin.elapsed());

    ground.proxy.heal();
    let begin = Instant::now();
    passes(&mut client, &mut server).await;
    assert!(begin.elapsed() < DELAY, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_throttle_holds_each_way_to_its_rate() {
    let ground = Ground::new().await;
    let (mut client, mut server) = ground.connect().await;
    ground.proxy.throttle(20_000);
    let begin = Instant::now();
    client.write_all(&[7; 10_000]).await.unwrap();
    server.write_all(&[7; 10_000]).await.unwrap();
    let (mut one, mut other) = ([0; 10_000], [0; 10_000]);
    tokio::try_join!(server.read_exact(&mut one), client.read_exact(&mut other)).unwrap();
    let took = begin.elapsed().as_millis();
    // The last of fifty writes a second is not waited for.
    assert!((450..2_000).contains(&took), "{took} ms");

    // A thousand seconds' worth, but for the heal.
    ground.proxy.throttle(10);
    client.write_all(&[7; 10_000]).await.unwrap();
    server.read_exact(&mut [0; 1]).await.unwrap();
    ground.proxy.heal();
    timeout(SOON, server.read_exact(&mut [0; 9_999])).await.expect("the rest in time").unwrap();
}

#[tokio::test]
async fn what_is_held_back_is_bounded_and_whole() {
    const ALL: usize = 64 << 20;
    let ground = Ground::new().await;
    let (mut client, mut server) = ground.connect().await;
    ground.proxy.throttle(0);
    let mut sent = 0;
    let chunk: Vec<u8> = (0..=250).cycle().take(251 * 1_000).collect();
    while let Ok(written) = timeout(MOMENT, client.write(&chunk[sent % 251..])).await {
        sent += written.unwrap();
        assert!(sent < ALL, "more than {sent} bytes wait");
    }
    ground.proxy.heal();
    client.shutdown().await.unwrap();
    let (heard, end) = rest(&mut server).await;
    assert_eq!((heard.len(), end.unwrap()), (sent, sent));
    assert!(heard.iter().copied().eq((0..=250).cycle().take(sent)));
}

#[tokio::test]
async fn a_cut_closes_all_connections_and_every_new_one_until_it_heals() {
    let ground = Ground::new().await;
    let mut pairs = [ground.connect().await, ground.connect().await];
    ground.proxy.cut();
    for (client, server) in &mut pairs {
        assert!(rest(client).await.1.is_ok() && rest(server).await.1.is_ok());
    }
    let mut early = ground.client().await;
    assert!(rest(&mut early).await.0.is_empty());
    assert!(timeout(MOMENT, ground.listener.accept()).await.is_err());
    ground.proxy.heal();
    let (mut client, mut server) = ground.connect().await;
    passes(&mut client, &mut server).await;
}

#[tokio::test]
async fn a_half_open_link_swallows_everything_and_tells_nobody() {
    let ground = Ground::new().await;
    let ((mut client, mut server), (left, mut alone)) = (ground.connect().await, ground.connect().await);
    ground.proxy.half_open();
    drop(left);
    let mut new = ground.client().await;
    for stream in [&mut client, &mut server, &mut new] {
        stream.write_all(b"lost").await.unwrap();
    }
    for stream in [&mut client, &mut server, &mut alone, &mut new] {
        let heard = timeout(MOMENT, stream.read(&mut [0; 9])).await;
        assert!(heard.is_err(), "{heard:?}");
    }
    assert!(timeout(MOMENT, ground.listener.accept()).await.is_err());

    ground.proxy.heal();
    for stream in [&mut client, &mut server, &mut alone, &mut new] {
        let (heard, end) = rest(stream).await;
        assert!(heard.is_empty() && is_reset(&end), "{heard:?} {end:?}");
    }
    let (mut client, mut server) = ground.connect().await;
    passes(&mut client, &mut server).await;
}

#[tokio::test]
async fn what_a_delay_holds_is_swallowed_too() {
    let ground = Ground::new().await;
    let (mut client, mut server) = ground.connect().await;
    ground.proxy.delay(MOMENT);
    client.write_all(b"lost").await.unwrap();
    ground.proxy.half_open();
    assert!(timeout(2 * MOMENT, server.read(&mut [0; 9])).await.is_err());
}

#[tokio::test]
async fn a_reset_is_an_error_to_both_sides_and_new_connections_pass() {
    let ground = Ground::new().await;
    let (mut client, mut server) = ground.connect().await;
    passes(&mut client, &mut server).await;
    ground.proxy.reset();
    assert!(is_reset(&rest(&mut client).await.1) && is_reset(&rest(&mut server).await.1));
    let (mut client, mut server) = ground.connect().await;
    passes(&mut client, &mut server).await;
}

#[tokio::test]
async fn its_connections_end_with_it() {
    let Ground { listener, proxy } = Ground::new().await;
    let ground = Ground { listener, proxy };
    let (mut client, mut server) = ground.connect().await;
    let address = ground.proxy.address();
    drop(ground.proxy);
    assert!(rest(&mut client).await.0.is_empty() && rest(&mut server).await.0.is_empty());
    eventually(SOON, async || TcpStream::connect(&address).await.is_err()).await;
}

#[test]
fn a_url_leads_through_it() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let proxy = runtime.block_on(Proxy::start("127.0.0.1:4222"));
    assert_eq!(proxy.instead_of("nats://u:p@127.0.0.1:4222/x"), format!("nats://u:p@{}/x", proxy.address()));
}
