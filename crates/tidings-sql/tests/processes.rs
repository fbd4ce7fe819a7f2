//! Several processes on one file, some of them killed: this test's own program runs itself again as the others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]
#![cfg(unix)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::{BufRead, BufReader, PipeWriter, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        mpsc::{self, Receiver},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tidings_core::{Broker, Client, Fetched, Health, Message, MessageId, Outcome, Subscription, url::Url};
use tidings_testing::suite::{
    DEADLINE, Reader, bodies, body, keyed, message, numbers, publish, subscribe, subscribe_with, subscription, within,
};

const ROLE: &str = "TIDINGS_SQL_TEST_ROLE";
const FILE: &str = "TIDINGS_SQL_TEST_FILE";
const WORKERS: usize = 4;
/// Of each worker.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

async fn open(file: &Path) -> Arc<dyn Broker> {
    let url: Url = format!("sqlite:{}", file.display()).parse().unwrap();
    let client = Client { service: "case".into(), instance: std::process::id().to_string().into() };
    within(tidings_sql::open(&url, &client)).await.unwrap()
}

/// Another process on the file. It is killed when dropped.
struct Other {
    child: Child,
    lines: Receiver<String>,
}

impl Other {
    fn start(role: &str, file: &Path) -> Self {
        Self::run(Command::new(env::current_exe().unwrap()), role, file)
    }

    /// As a shell starts it that limits the size of a file to so many blocks of 1 KiB and ignores the signal for it.
    fn start_with_small_files(role: &str, file: &Path, blocks: u32) -> Self {
        let mut shell = Command::new("bash");
        shell.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
        Self::run(shell, role, file)
    }

    /// On a disk of this size that no other process sees, and that goes with this one; `None` where none may be mounted.
    fn start_on_small_disk(role: &str, file: &Path, size: &str) -> Option<Self> {
        let mount = |then: &str| {
            let mut unshare = Command::new("unshare");
            let script = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && {then}");
            unshare.args(["--mount", "--map-root-user", "sh", "-c", &script]).arg(file.parent().unwrap());
            unshare
        };
        mount("true").output().is_ok_and(|tried| tried.status.success()).then(|| {
            let mut on_disk = mount("exec \"$@\"");
            on_disk.arg(env::current_exe().unwrap());
            Self::run(on_disk, role, file)
        })
    }

    fn run(mut command: Command, role: &str, file: &Path) -> Self {
        let mut child = as_other(&mut command, role, file).stdout(Stdio::piped()).spawn().unwrap();
        let lines = said(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// One that says everything into this pipe.
    fn start_into(pipe: &PipeWriter, role: &str, file: &Path) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        let child = as_other(&mut command, role, file).stdout(pipe.try_clone().unwrap()).spawn().unwrap();
        Self { child, lines: mpsc::channel().1 }
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

fn as_other<'a>(command: &'a mut Command, role: &str, file: &Path) -> &'a mut Command {
    command
        .args(["--exact", "the_other_process", "--nocapture", "--ignored"])
        .envs([(ROLE, role.as_ref()), (FILE, file.as_os_str())])
}

/// The lines that processes say, from their output until its end.
fn said(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        // The test harness writes lines of its own.
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(said) = line.strip_prefix("> ")
                && sender.send(said.to_owned()).is_err()
            {
                break;
            }
        }
    });
    lines
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
    let (role, told) = role.split_once(' ').unwrap_or((&role, ""));
    match role {
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
            let reader = subscribe(&*broker, "g", "t").await;
            say("handles");
            handle(reader).await;
        }
        "work" => {
            let (slot, next) = told.split_once(' ').unwrap();
            let reader = subscribe(&*broker, "g", "t").await;
            tokio::join!(publish_numbers(&*broker, slot, next.parse().unwrap()), handle(reader));
        }
        "fill" => {
            fill(&*broker).await;
            std::future::pending().await
        }
        "fill-and-free" => {
            let ballast = Path::new(&env::var_os(FILE).unwrap()).with_file_name("ballast");
            std::fs::write(&ballast, [0; 1 << 20]).unwrap();
            let taken = fill(&*broker).await;
            std::fs::remove_file(ballast).unwrap();
            publish(&*broker, &[large(taken)]).await;
            say(&format!("{:?}", broker.health()));
            for number in there(&*broker, taken + 1).await {
                say(&number);
            }
            std::future::pending().await
        }
        other => panic!("{other}"),
    }
}

/// Publishes and says numbers until no more are taken, and says why; answers how many were.
async fn fill(broker: &dyn Broker) -> usize {
    let mut taken = 0;
    let failures = loop {
        match broker.publish(&[large(taken)]).await {
            Ok(()) => say(&taken.to_string()),
            Err(failures) => break failures,
        }
        taken += 1;
    };
    let [(0, error)] = failures.failed() else { panic!("{failures}") };
    assert!(error.is_transient(), "{error}");
    say(&format!("full {}", chain(error)));
    let Health::Down(why) = broker.health() else { panic!("{:?}", broker.health()) };
    say(&why);
    taken
}

fn large(number: usize) -> Message {
    message("t", &format!("{number} {}", "x".repeat(10_000)))
}

/// The numbers of so many messages that are in the file.
async fn there(broker: &dyn Broker, count: usize) -> Vec<String> {
    let mut reader = subscribe_with(broker, Subscription { start: None, ..subscription("g", "t") }).await;
    reader.read(count).await.iter().map(|body| body.split_once(' ').unwrap().0.to_owned()).collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Says and settles one message after the other, for ever.
async fn handle(mut reader: Reader) {
    loop {
        // Without a deadline: who holds all keys is given all that follows of them, and the other one waits.
        let Fetched::Deliveries(deliveries) = reader.fetch.fetch(16).await.unwrap() else { continue };
        for delivery in deliveries {
            say(&format!("{} {}", delivery.message.key().unwrap(), body(&delivery)));
            reader.end(&[delivery], Outcome::Ack).await;
        }
    }
}

/// Publishes the numbers from `next` on, each to every key of this slot, for ever, and says them when they are taken. Who is
/// killed between the two leaves a number that its successor publishes again, under the same id.
async fn publish_numbers(broker: &dyn Broker, slot: &str, next: u64) {
    // So many as can be handled meanwhile.
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for number in next.. {
        pace.tick().await;
        let batch = KEYS.map(|key| {
            let id = MessageId::new(&format!("{slot}-{key}-{number}")).unwrap();
            keyed("t", &format!("{slot}-{key}"), &number.to_string()).into_builder().id(id).build()
        });
        publish(broker, &batch).await;
        say(&format!("published {slot} {number}"));
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

/// What four workers said, in the order in which it was said.
#[derive(Default)]
struct Heard {
    /// How many numbers each is known to have published.
    published: [u64; WORKERS],
    /// How many numbers of each key were handled.
    handled: BTreeMap<String, u64>,
    repeated: usize,
}

impl Heard {
    fn hear(&mut self, line: &str) {
        let (what, number) = line.rsplit_once(' ').unwrap();
        let number: u64 = number.parse().unwrap();
        if let Some(slot) = what.strip_prefix("published ") {
            let published = &mut self.published[slot.parse::<usize>().unwrap()];
            *published = (number + 1).max(*published);
            return;
        }
        let handled = self.handled.entry(what.to_owned()).or_default();
        if number == *handled {
            *handled += 1;
        } else {
            // Said, and not settled before the kill: the last one of its key, and no other.
            assert_eq!(number + 1, *handled, "of key {what}, in place of {handled}");
            self.repeated += 1;
        }
    }

    /// How many messages are known to be published, and were not handled.
    fn missing(&self) -> u64 {
        let keys = (0..WORKERS).flat_map(|slot| KEYS.map(|key| (slot, format!("{slot}-{key}"))));
        keys.map(|(slot, key)| self.published[slot].saturating_sub(self.handled.get(&key).copied().unwrap_or_default())).sum()
    }
}

#[tokio::test]
async fn four_processes_lose_nothing_and_keep_order_while_one_is_killed_each_second() {
    const KILLS: usize = 30;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broker.db");
    let broker = open(&file).await;
    subscribe(&*broker, "g", "t").await.close().await;
    // One pipe for all: what is said first is read first.
    let (output, pipe) = std::io::pipe().unwrap();
    let (lines, mut heard) = (said(output), Heard::default());
    let work = |slot: usize, next: u64| Other::start_into(&pipe, &format!("work {slot} {next}"), &file);
    let mut workers: Vec<_> = (0..WORKERS).map(|slot| work(slot, 0)).collect();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.tick().await;
    for kill in 0..KILLS {
        second.tick().await;
        let worker = workers.remove(0);
        worker.kill();
        lines.try_iter().for_each(|line| heard.hear(&line));
        let slot = kill % WORKERS;
        workers.push(work(slot, heard.published[slot]));
    }
    drop(workers);
    drop(pipe);
    lines.iter().for_each(|line| heard.hear(&line));
    let left = heard.missing();
    let mut reader = subscribe(&*broker, "g", "t").await;
    while heard.missing() > 0 {
        let deliveries = reader.next(256).await;
        for delivery in &deliveries {
            heard.hear(&format!("{} {}", delivery.message.key().unwrap(), body(delivery)));
        }
        reader.end(&deliveries, Outcome::Ack).await;
    }
    println!("{:?} numbers of each key, {} handled twice, {left} left at the end", heard.published, heard.repeated);
    assert!(heard.published.iter().all(|numbers| *numbers > 100), "{:?}", heard.published);
    // Each handles one at a time.
    assert!(heard.repeated <= KILLS + WORKERS, "{}", heard.repeated);
}

/// What one said that fills the disk: how many were taken, why no more were, and what health says.
fn until_full(other: &Other) -> (usize, String, String) {
    for taken in 0.. {
        let said = other.says();
        if let Some(why) = said.strip_prefix("full ") {
            assert!(taken > 3, "{taken}");
            return (taken, why.to_owned(), other.says());
        }
        assert_eq!(said, taken.to_string());
    }
    unreachable!("a disk has an end")
}

#[tokio::test]
async fn a_file_at_its_limit_refuses_and_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broker.db");
    let other = Other::start_with_small_files("fill", &file, 600);
    let (taken, why, health) = until_full(&other);
    other.kill();
    let said =
        format!("writing to {} failed: a quota or limit of its size may be reached, or its disk is failing", file.display());
    assert!(why.contains(&said) && why.ends_with("disk I/O error"), "{why}");
    assert!(health.starts_with(&said) && health.ends_with("disk I/O error"), "{health}");
    assert_eq!(there(&*open(&file).await, taken).await, numbers(0, taken));
}

#[tokio::test]
async fn a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_room() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("broker.db");
    let Some(other) = Other::start_on_small_disk("fill-and-free", &file, "3m") else {
        println!("not tried: no disk of a size may be mounted here (`unshare --mount --map-root-user`)");
        return;
    };
    let (taken, why, health) = until_full(&other);
    let full = format!("{} found no room: its disk, or the quota that it counts against, is full; free some", file.display());
    assert!(why.contains(&full) && why.ends_with("database or disk is full"), "{why}");
    assert!(health.starts_with(&full) && health.ends_with("database or disk is full"), "{health}");
    assert_eq!(other.says(), "Up");
    let there: Vec<_> = (0..=taken).map(|_| other.says()).collect();
    assert_eq!(there, numbers(0, taken + 1));
}
