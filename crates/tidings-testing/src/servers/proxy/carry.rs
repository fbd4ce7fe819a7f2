//! One connection through a proxy, from the client's to the end of it.
//!
//! Each way is a reader and a writer with a bounded queue between them, so that a delay holds nothing up behind it. The link is
//! looked at where bytes leave: what a test says is true of everything that has not arrived.

use super::{End, Link, Passage};
use std::future::pending;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// The most that is read at once, in bytes.
const PIECE: usize = 16 * 1024;
/// How many pieces may wait, each way.
const WAITING: usize = 64;
/// Into how many writes a second's bytes are cut, where they are throttled.
const WRITES: u64 = 50;

/// What one read brought, and when it may arrive. No bytes: the end.
struct Piece {
    due: Instant,
    read: io::Result<Vec<u8>>,
}

/// Carries a connection that was taken when the link's had been ended `ends` times.
pub(super) async fn carry(mut client: TcpStream, server: String, link: watch::Receiver<Link>, ends: u64) {
    let mut other = None;
    let how = tokio::select! {
        biased;
        how = ended(link.clone(), ends) => how,
        // A side that was reset, or cannot be reached, is told to the other as it is.
        done = both_ways(&mut client, &mut other, &server, link) => if done.is_ok() { End::Closed } else { End::Reset },
    };
    if how == End::Reset {
        for stream in [Some(&client), other.as_ref()].into_iter().flatten() {
            let _ = stream.set_zero_linger();
        }
    }
}

/// How the connections were ended, when they are once more.
async fn ended(mut link: watch::Receiver<Link>, ends: u64) -> End {
    let how = link.wait_for(|link| link.ends != ends).await.map(|link| link.how);
    match how {
        Ok(how) => how,
        Err(_) => pending().await,
    }
}

/// Passes on what both sides say until both have said all.
async fn both_ways(
    client: &mut TcpStream,
    other: &mut Option<TcpStream>,
    server: &str,
    mut link: watch::Receiver<Link>,
) -> io::Result<()> {
    // On a half-open link a client finds somebody who takes its connection, and a server hears of nobody.
    if link.wait_for(|link| link.passage == Passage::Open).await.is_err() {
        return pending().await;
    }
    let server = other.insert(TcpStream::connect(server).await?);
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    tokio::try_join!(one_way(from_client, to_server, link.clone()), one_way(from_server, to_client, link))?;
    Ok(())
}

async fn one_way(from: ReadHalf<'_>, to: WriteHalf<'_>, link: watch::Receiver<Link>) -> io::Result<()> {
    let (queue, waiting) = mpsc::channel(WAITING);
    tokio::try_join!(take(from, queue, link.clone()), give(to, waiting, link))?;
    Ok(())
}

async fn take(mut from: ReadHalf<'_>, queue: mpsc::Sender<Piece>, link: watch::Receiver<Link>) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    // Room comes first: while there is none, the sender is not read from.
    while let Ok(room) = queue.reserve().await {
        let read = from.read(&mut buffer).await.map(|length| buffer[..length].to_vec());
        let is_last = !matches!(&read, Ok(bytes) if !bytes.is_empty());
        room.send(Piece { due: Instant::now() + link.borrow().delay, read });
        if is_last {
            break;
        }
    }
    Ok(())
}

async fn give(mut to: WriteHalf<'_>, mut waiting: mpsc::Receiver<Piece>, mut link: watch::Receiver<Link>) -> io::Result<()> {
    let mut free = Instant::now();
    while let Some(piece) = waiting.recv().await {
        sleep_until(piece.due).await;
        let is_swallowed = link.borrow().passage == Passage::Swallows;
        match piece.read {
            Ok(bytes) if !bytes.is_empty() => write(&mut to, &bytes, &mut link, &mut free).await?,
            // The end of one side is not told to the other.
            _ if is_swallowed => pending().await,
            Ok(_) => to.shutdown().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes `bytes` as the link allows, nothing before the way is `free`; what is swallowed counts as written.
async fn write(to: &mut WriteHalf<'_>, mut bytes: &[u8], link: &mut watch::Receiver<Link>, free: &mut Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        let now = *link.borrow_and_update();
        if now.passage == Passage::Swallows {
            return Ok(());
        }
        let most = now.rate.map_or(bytes.len(), |rate| at_once(rate).min(bytes.len()));
        let from = *free;
        let writing = async {
            sleep_until(from).await;
            // No write at all: an empty one says that it is done.
            if most == 0 { pending().await } else { to.write(&bytes[..most]).await }
        };
        tokio::select! {
            biased;
            () = changed(link) => *free = Instant::now(),
            written = writing => {
                let written = written?;
                bytes = &bytes[written..];
                *free = Instant::now() + now.rate.map_or(Duration::ZERO, |rate| time_for(written, rate));
            }
        }
    }
    Ok(())
}

async fn changed(link: &mut watch::Receiver<Link>) {
    if link.changed().await.is_err() {
        pending().await
    }
}

/// How many bytes are written at once at so many a second: none at 0.
fn at_once(rate: u64) -> usize {
    usize::try_from(rate.div_ceil(WRITES)).unwrap_or(usize::MAX)
}

fn time_for(bytes: usize, rate: u64) -> Duration {
    let nanoseconds = (bytes as u128) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
