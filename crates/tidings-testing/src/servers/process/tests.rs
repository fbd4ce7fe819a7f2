use super::*;
use std::path::PathBuf;

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[tokio::test]
async fn its_lines_and_its_exit_status_are_seen() {
    let mut process = Process::start("shell", shell("echo one; echo two >&2; exit 3"));
    assert_eq!(process.wait_for_line("two", SOON).await, "two");
    assert_eq!(process.exit(SOON).await.code(), Some(3));
    assert_eq!(process.stdout(), "one\n");
    assert!(!process.is_running());
}

#[tokio::test]
async fn its_environment_is_clean_but_for_what_the_command_sets() {
    let mut command = shell("env");
    command.env("ITS_OWN", "yes");
    let mut process = Process::start("env", command);
    process.exit(SOON).await;
    let output = process.stdout();
    assert!(output.contains("ITS_OWN=yes"));
    assert!(!output.contains("CARGO_PKG_NAME="), "{output}");
}

#[tokio::test]
async fn sigterm_can_be_answered_and_a_restart_begins_a_new_output() {
    let script = "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done";
    let mut process = Process::start("trap", shell(script));
    process.wait_for_line("up", SOON).await;
    process.terminate();
    assert!(process.exit(SOON).await.success());
    assert_eq!(process.stdout(), "up\nbye\n");
    process.restart();
    process.wait_for_line("up", SOON).await;
    assert_eq!(process.stdout(), "up\n");
}

#[tokio::test]
#[should_panic(expected = "ended (exit status: 1) without a line that contains `ready`")]
async fn one_that_ends_before_its_line_fails_the_wait_at_once() {
    let mut process = Process::start("early", shell("exit 1"));
    process.wait_for_line("ready", Duration::from_secs(600)).await;
}

#[tokio::test]
async fn children_and_data_go_with_a_test_process_that_is_killed() {
    const THIS: &str = "servers::process::tests::children_and_data_go_with_a_test_process_that_is_killed";
    if std::env::var_os("LEAVE_A_CHILD_BEHIND").is_some() {
        leave_a_child_behind().await;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", THIS, "--nocapture"])
        .env("LEAVE_A_CHILD_BEHIND", "1")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split("left ").last().unwrap().split_whitespace();
    let (pid, folder) = (words.next().unwrap(), PathBuf::from(words.next().unwrap()));
    eventually(SOON, async || !is_alive(pid) && !folder.exists()).await;
}

fn is_alive(pid: &str) -> bool {
    let exists = Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success();
    // In a container the first process may be slow to collect the dead.
    let dead = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    exists && !dead
}

/// Ends as a killed test does.
async fn leave_a_child_behind() {
    let mut process = Process::start("left", shell("echo pid $$; exec sleep 600"));
    let line = process.wait_for_line("pid", SOON).await;
    println!("left {} {}", line.trim_start_matches("pid "), process.folder.parent().unwrap().display());
    std::process::abort();
}
