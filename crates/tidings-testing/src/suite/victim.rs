//! Another process on a case's place, to be killed or measured: this program runs itself again.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, ExitCode, Stdio},
    sync::{self, Arc},
    time::Duration,
};

use tidings_core::{Broker, Outcome};
use tokio::sync::{Semaphore, mpsc};

use super::{
    engine::{Engine, Place},
    reader::{DEADLINE, message, publish, subscribe},
    runner::runtime,
};

const ROLE: &str = "TIDINGS_SUITE_VICTIM";
const ENGINE: &str = "TIDINGS_SUITE_ENGINE";
const URL: &str = "TIDINGS_SUITE_URL";
/// Tells the victim's lines from those of a test harness.
const MARK: &str = "> ";

/// What a victim does until it is killed.
#[derive(Clone, Copy)]
pub(super) enum Role {
    /// Takes 20 as an instance of the group `g` on `t`, acknowledges 5, and says so.
    Hold,
    /// Fails one as an instance of the group `g` on `t`, three times, then holds it, and says so.
    Fail,
    /// Publishes numbers on `t` for ever, and says each that was taken.
    Publish,
    /// Publishes and handles a million messages, and says how much its memory grew after the first tenth, in bytes.
    Flood,
    /// Says that it is there, and holds 8 as an instance of the group `g` on `t`. Each time that it is let go on, it acknowledges
    /// one of them and takes another, and says how much its memory grew since it subscribed, in bytes.
    Slow,
    /// Runs handlers over the framework's loop, as `looped::processes` says.
    #[cfg(feature = "suite-service")]
    Handle,
}

const ROLES: &[(&str, Role)] = &[
    ("hold", Role::Hold),
    ("fail", Role::Fail),
    ("publish", Role::Publish),
    ("flood", Role::Flood),
    ("slow", Role::Slow),
    #[cfg(feature = "suite-service")]
    ("handle", Role::Handle),
];

/// The other process. It is killed when this is dropped, and ends when the case's process does.
pub(super) struct Victim {
    child: Child,
    lines: sync::mpsc::Receiver<String>,
}

impl Victim {
    pub(super) fn start(role: Role, place: &Place) -> Self {
        Self::start_at(role, place, place.url())
    }

    /// The same elsewhere than on the case's place.
    pub(super) fn start_at(role: Role, place: &Place, url: &str) -> Self {
        let name = ROLES.iter().find(|(_, other)| *other as u8 == role as u8).map_or("", |(name, _)| name);
        let mut child = Command::new(env::current_exe().unwrap())
            .envs([(ROLE, name), (ENGINE, place.engine_name()), (URL, url)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = sync::mpsc::channel();
        std::thread::spawn(move || {
            let said = output.lines().map_while(Result::ok).filter_map(|line| Some(line.strip_prefix(MARK)?.to_owned()));
            for line in said {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for the next thing that it says.
    pub(super) async fn says(&mut self) -> String {
        self.says_within(DEADLINE).await
    }

    pub(super) async fn says_within(&mut self, patience: Duration) -> String {
        let begun = std::time::Instant::now();
        loop {
            match self.lines.try_recv() {
                Ok(line) => return line,
                Err(sync::mpsc::TryRecvError::Empty) if begun.elapsed() < patience => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                Err(error) => panic!("the other process said nothing: {error}"),
            }
        }
    }

    /// Lets it do once more what its role says.
    pub(super) fn goes_on(&mut self) {
        let pipe = self.child.stdin.as_mut().unwrap();
        pipe.write_all(b"\n").unwrap();
    }

    /// Kills it (SIGKILL), and answers what else it had said.
    pub(super) fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays the victim where this process was started as one.
pub(super) fn take_over(engines: &[Engine]) -> Option<ExitCode> {
    let (role, engine, url) = (env::var(ROLE).ok()?, env::var(ENGINE).ok()?, env::var(URL).ok()?);
    let (_, role) = ROLES.iter().find(|(name, _)| *name == role)?;
    let engine = engines.iter().find(|other| other.name == engine)?;
    runtime(DEADLINE).block_on(async {
        let broker = engine.try_open(&url).await.unwrap();
        let (go_on, orphaned) = pipe();
        tokio::select! {
            () = play(*role, &broker, go_on) => {}
            () = orphaned => {}
        }
    });
    Some(ExitCode::SUCCESS)
}

/// The pipe from the process that started this one: its lines, and its end, which comes when that process ends, however it ends.
fn pipe() -> (mpsc::Receiver<()>, impl Future<Output = ()>) {
    let (sender, lines) = mpsc::channel(1);
    let (open, mut end) = mpsc::channel::<()>(1);
    std::thread::spawn(move || {
        let _open = open;
        for _ in std::io::stdin().lines().map_while(Result::ok) {
            // A role that does not listen is sent none.
            let _ = sender.blocking_send(());
        }
    });
    (lines, async move { _ = end.recv().await })
}

async fn play(role: Role, opened: &Arc<dyn Broker>, go_on: mpsc::Receiver<()>) {
    let broker = &**opened;
    match role {
        Role::Hold => {
            let mut reader = subscribe(broker, "g", "t").await;
            let held = reader.take(20).await;
            reader.end(&held[..5], Outcome::Ack).await;
            // A settlement may be on its way still; what goes behind it and is acknowledged shows that it has arrived.
            publish(broker, &[message("behind", "")]).await;
            say("holds");
            std::future::pending().await
        }
        Role::Fail => {
            let mut reader = subscribe(broker, "g", "t").await;
            for attempts in 1..=3 {
                let held = reader.take(1).await;
                reader.end(&held, Outcome::Retry { after: Duration::ZERO, attempts }).await;
            }
            reader.take(1).await;
            say("failed");
            std::future::pending().await
        }
        Role::Flood => say(&flood(broker).await.to_string()),
        Role::Slow => be_slow(broker, go_on).await,
        #[cfg(feature = "suite-service")]
        Role::Handle => super::looped::handle_some(opened).await,
        Role::Publish => {
            for n in 0_u64.. {
                publish(broker, &[message("t", &n.to_string())]).await;
                say(&n.to_string());
            }
        }
    }
}

async fn be_slow(broker: &dyn Broker, mut go_on: mpsc::Receiver<()>) {
    const HELD: usize = 8;
    let mut reader = subscribe(broker, "g", "t").await;
    let before = resident();
    say("subscribed");
    let mut held = reader.take(HELD).await;
    loop {
        tokio::select! {
            // As whoever has no room: it keeps up what is to be kept up, and brings nothing.
            fetched = reader.fetch.fetch(0) => panic!("{fetched:?} without room"),
            more = go_on.recv() => if more.is_none() { return },
        }
        reader.end(&[held.remove(0)], Outcome::Ack).await;
        held.extend(reader.take(1).await);
        say(&resident().saturating_sub(before).to_string());
    }
}

/// A million messages go through, never more than `AHEAD` of them published and not handled.
async fn flood(broker: &dyn Broker) -> usize {
    const COUNT: usize = 1_000_000;
    const BATCH: usize = 256;
    const PERMITS: u32 = 256;
    const AHEAD: usize = 8_192;
    let mut reader = subscribe(broker, "g", "t").await;
    let room = Semaphore::new(AHEAD);
    let publishing = async {
        let body = "x".repeat(100);
        for _ in 0..COUNT / BATCH + 1 {
            room.acquire_many(PERMITS).await.unwrap().forget();
            let batch: Vec<_> = (0..BATCH).map(|_| message("t", &body)).collect();
            publish(broker, &batch).await;
        }
    };
    let handling = async {
        let (mut handled, mut after_a_tenth) = (0, None);
        while handled < COUNT {
            let next = reader.next(BATCH).await;
            reader.end(&next, Outcome::Ack).await;
            handled += next.len();
            room.add_permits(next.len());
            if handled >= COUNT / 10 {
                after_a_tenth.get_or_insert_with(resident);
            }
        }
        resident().saturating_sub(after_a_tenth.unwrap_or_default())
    };
    tokio::join!(publishing, handling).1
}

/// Resident memory in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a system that tells of a process's memory");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the resident size");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number of KiB");
    kib * 1024
}

pub(super) fn say(line: &str) {
    // One write, or a kill could cut it in two.
    let _ = std::io::stdout().write_all(format!("{MARK}{line}\n").as_bytes());
}
