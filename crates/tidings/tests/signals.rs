//! SIGTERM and SIGINT, in a process of its own: this program, started once more.
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a test")]

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use tidings::{Service, service::Stopping};

const SOON: Duration = Duration::from_secs(60);

/// The service that the tests start; for them it is a program, among them it does nothing.
#[test]
fn program() {
    let Ok(told) = env::var("SIGNALS_TASK") else { return };
    let args = ["program", "--broker=memory:", "--admin=127.0.0.1:0", "--log=off", "--drain=50s"];
    let service = Service::builder("program", "1").arguments(args).environment::<String, String>([]).init().unwrap();
    let service = service.task("task", move |stopping: Stopping| async move {
        println!("\nrunning");
        stopping.await;
        println!("\nstopping");
        if told == "hangs" {
            std::future::pending::<()>().await;
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(service.run()).unwrap();
    println!("\nended");
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
