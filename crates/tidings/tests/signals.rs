//! SIGTERM and SIGINT, in a process of its own: this program, started once more.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use tidings::{Handlers, Message, Service, Source, service::Stopping};

const SOON: Duration = Duration::from_secs(60);

/// The service that the tests start; for them it is a program, among them it does nothing.
#[test]
fn program() {
    let Ok(told) = env::var("SIGNALS_TASK") else { return };
    let computes = told == "computes";
    let drain = if computes { "--drain=1s" } else { "--drain=50s" };
    let args = ["program", "--broker=memory:", "--admin=127.0.0.1:0", "--log=off", drain];
    let service = Service::builder("program", "1").arguments(args).environment::<String, String>([]).init().unwrap();
    let service = service.task("task", move |stopping: Stopping| async move {
        println!("\nrunning");
        stopping.await;
        println!("\nstopping");
        if told == "hangs" {
            std::future::pending::<()>().await;
        }
    });
    let service = service.handlers(Handlers::new().on_topic("t", compute));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let publisher = service.publisher().await.unwrap();
        let running = tokio::spawn(service.run());
        while computes && !HANDLING.load(Ordering::Relaxed) {
            publisher.publish_message(&message()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        running.await.unwrap().unwrap();
    });
    println!("\nended");
}

static HANDLING: AtomicBool = AtomicBool::new(false);

/// Nothing can cancel it.
async fn compute(_: Message) {
    if !HANDLING.swap(true, Ordering::Relaxed) {
        println!("\ncomputing");
    }
    loop {
        std::thread::sleep(SOON);
    }
}

fn message() -> Message {
    Message::builder("t".parse().unwrap(), Source::new("/t").unwrap(), Vec::new().into()).build()
}

struct Program {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Program {
    fn start(task: &str) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["program", "--exact", "--nocapture", "--test-threads=1"])
            .env("SIGNALS_TASK", task)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn says(&mut self, word: &str) {
        assert!(self.lines.any(|line| line.unwrap() == word), "it never said {word}");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it goes on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn one_signal_drains_and_the_exit_is_clean() {
    for name in ["TERM", "INT"] {
        let mut program = Program::start("ends");
        program.says("running");
        program.signal(name);
        program.says("stopping");
        program.says("ended");
        assert_eq!(program.ended().code(), Some(0), "{name}");
    }
}

#[test]
fn a_handler_that_computes_on_holds_up_no_end() {
    let mut program = Program::start("computes");
    program.says("computing");
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut program = Program::start("hangs");
    program.says("running");
    program.signal("TERM");
    program.says("stopping");
    let begun = Instant::now();
    program.signal("TERM");
    assert_eq!(program.ended().code(), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(40), "long before the drain's four fifths");
}
