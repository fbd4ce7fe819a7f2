//! Several processes on one file, some of them killed: this test's own program runs itself again as the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![cfg(unix)]

#[path = "../../tidings-memory/tests/cases/mod.rs"]
mod cases;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use cases::*;
use tempfile::TempDir;
use tidings_core::{Broker, Client, Fetched, Health, Outcome, url::Url};

const ROLE: &str = "TIDINGS_SQL_TEST_ROLE";
const FILE: &str = "TIDINGS_SQL_TEST_FILE";

async fn open(file: &Path) -> Arc<dyn Broker> {
    let url: Url = format!("sqlite:{}", file.display()).parse().unwrap();
    let client = Client { service: "case".into(), instance: std::process::id().to_string().into() };
    within(tidings_sql::open(&url, &client)).await.unwrap()
}

/// Another process on the file. It is killed when dropped.
struct Other {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Other {
    fn start(role: &str, file: &Path) -> Self {
        Self::run(Command::new(env::current_exe().unwrap()), role, file)
    }

    /// As a shell starts it that limits the size of a file to so many blocks of 1 KiB and ignores the signal for it.
    fn start_with_small_disk(role: &str, file: &Path, blocks: u32) -> Self {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
        Self::run(shell, role, file)
    }

    fn run(mut command: Command, role: &str, file: &Path) -> Self {
        let mut child = command
            .args(["--exact", "the_other_process", "--nocapture", "--ignored"])
            .envs([(ROLE, role.as_ref()), (FILE, file.as_os_str())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // The test harness writes lines of its own.
            for line in output.lines().map_while(Result::ok) {
                if let Some(said) = line.strip_prefix("> ")
                    && sender.send(said.to_owned()).is_err()
                {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn says(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.lines.iter().collect()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(line: &str) {
    // One write, or a kill could cut it in two.
    std::io::stdout().write_all(format!("> {line}\n").as_bytes()).unwrap();
}

/// What the other processes do, each for ever: they are killed.
#[tokio::test]
#[ignore = "run by the other tests as a process of its own"]
async fn the_other_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let broker = open(Path::new(&env::var_os(FILE).unwrap())).await;
    match role.as_str() {
        "hold" => {
            let mut reader = subscribe(&*broker, "g", "t").await;
            let held = reader.take(20).await;
            reader.end(&held[..5], Outcome::Ack).await;
            say("holds");
            std::future::pending().await
        }
        "publish" => {
            for n in 0.. {
                publish(&*broker, &[keyed("t", &format!("k{}", n % 7), &format!("{} {n}", std::process::id()))]).await;
                say(&n.to_string());
            }
        }
        "handle" => {
            let mut reader = subscribe(&*broker, "g", "t").await;
            say("handles");
            loop {
                // Without a deadline: who holds all keys is given all that follows of them, and the other one waits.
                let Fetched::Deliveries(deliveries) = reader.fetch.fetch(16).await.unwrap() else { continue };
                for delivery in deliveries {
                    say(&format!("{} {}", delivery.message.key().unwrap(), body(&delivery)));
                    reader.end(&[delivery], Outcome::Ack).await;
                }
            }
        }
        "fill" => {
            for n in 0.. {
                match broker.publish(&[message("t", &format!("{n} {}", "x".repeat(10_000)))]).await {
                    Ok(()) => say(&n.to_string()),
                    Err(failures) => {
                        assert!(failures.failed()[0].1.is_transient(), "{failures}");
                        assert!(matches!(broker.health(), Health::Down(_)));
                        say("full");
                        std::future::pending().await
                    }
                }
            }
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_a_killed_process_had_in_hand_comes_again_in_order() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broker.db");
    let broker = open(&file).await;
    subscribe(&*broker, "g", "t").await.close().await;
    let batch: Vec<_> = (0..40).map(|n| keyed("t", "k", &n.to_string())).collect();
    publish(&*broker, &batch).await;
    let other = Other::start("hold", &file);
    assert_eq!(other.says(), "holds");
    let mut reader = subscribe(&*broker, "g", "t").await;
    let waiting = tokio::spawn(async move { reader.take(35).await });
    let killed = Instant::now();
    other.kill();
    let again = waiting.await.unwrap();
    assert_eq!(bodies(&again), numbers(5, 40));
    // A crash is no attempt.
    assert_eq!((again[0].deliveries, again[0].attempts, again[34].deliveries), (Some(2), 0, Some(1)));
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
}

#[tokio::test]
async fn a_stopped_process_is_not_a_dead_one() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broker.db");
    let broker = open(&file).await;
    subscribe(&*broker, "g", "t").await.close().await;
    let batch: Vec<_> = (0..20).map(|n| keyed("t", "k", &n.to_string())).collect();
    publish(&*broker, &batch).await;
    let other = Other::start("hold", &file);
    assert_eq!(other.says(), "holds");
    let signal = |name: &str| Command::new("kill").args([name, &other.child.id().to_string()]).status().unwrap();
    assert!(signal("-STOP").success());
    let mut reader = subscribe(&*broker, "g", "t").await;
    // For longer than a dead one would have been found in.
    let came = tokio::time::timeout(Duration::from_secs(4), reader.fetch.fetch(1)).await;
    assert!(came.is_err(), "{came:?}");
    other.kill();
    assert_eq!(reader.read(15).await, numbers(5, 20));
}

#[tokio::test]
async fn publishers_and_handlers_are_killed_and_nothing_is_lost() {
    const ROUNDS: usize = 6;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broker.db");
    let broker = open(&file).await;
    subscribe(&*broker, "g", "t").await.close().await;
    let (mut published, mut handled) = (BTreeSet::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (publisher, handlers) = (Other::start("publish", &file), [(); 2].map(|()| Other::start("handle", &file)));
        for other in handlers.iter().chain([&publisher]) {
            let first = other.says();
            if std::ptr::eq(other, &publisher) {
                published.insert(format!("{} {first}", publisher.child.id()));
            } else {
                assert_eq!(first, "handles");
            }
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let id = publisher.child.id();
        published.extend(publisher.kill().into_iter().map(|n| format!("{id} {n}")));
        for handler in handlers {
            handled.extend(handler.kill());
        }
    }
    let mut reader = subscribe(&*broker, "g", "t").await;
    let missing = |handled: &[String]| {
        let seen: BTreeSet<_> = handled.iter().map(|line| line.split_once(' ').unwrap().1).collect();
        published.iter().any(|message| !seen.contains(message.as_str()))
    };
    while missing(&handled) {
        for delivery in reader.next(64).await {
            handled.push(format!("{} {}", delivery.message.key().unwrap(), body(&delivery)));
            reader.end(&[delivery], Outcome::Ack).await;
        }
    }
    assert!(published.len() > ROUNDS * 3, "{} published", published.len());
    // What two processes said in one round is not in one order here; what each publisher said of a key is, in each of them.
    let mut twice: BTreeMap<&str, usize> = BTreeMap::new();
    for line in &handled {
        *twice.entry(line).or_default() += 1;
    }
    let repeated = twice.values().filter(|times| **times > 1).count();
    assert!(repeated <= ROUNDS * 2 * 16, "{repeated} of {} came again", twice.len());
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broker.db");
    let other = Other::start_with_small_disk("fill", &file, 600);
    let mut taken = Vec::new();
    loop {
        match other.says().as_str() {
            "full" => break,
            n => taken.push(n.to_owned()),
        }
    }
    other.kill();
    assert!(taken.len() > 3, "{taken:?}");
    let broker = open(&file).await;
    let mut reader = subscribe_with(&*broker, tidings_core::Subscription { start: None, ..subscription("g", "t") }).await;
    let there: Vec<_> = reader.read(taken.len()).await.iter().map(|body| body.split_once(' ').unwrap().0.to_owned()).collect();
    assert_eq!(there, taken);
}
