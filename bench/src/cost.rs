//! What a message costs on the memory broker: instructions and allocations, which no busy machine changes.
//!
//! From publish to typed handler, in a whole service on tokio's current-thread runtime, under callgrind; and the same through a
//! bare tokio channel. Each runs with few and with many messages, and the difference is the messages'. `bench/cost.json` keeps
//! the figures of one toolchain, and a change that makes one 3 % worse fails.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::jobs::sent::{Handled, Sent, body, message, names, service};

/// Messages of the two runs: enough for a service to be warm in both.
const FEW: u64 = 20_000;
const MANY: u64 = 60_000;
/// How much worse a figure may be.
const TOLERANCE: f64 = 1.03;

/// One way that a message goes, and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Cost {
    instructions: f64,
    allocations: f64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Costs {
    toolchain: String,
    ways: BTreeMap<String, Cost>,
}

const WAYS: [&str; 2] = ["channel", "service"];

/// Measures, and compares with `kept`, or writes it.
///
/// # Errors
/// When valgrind is absent, or a figure is worse than the one that is kept.
pub(crate) fn check(kept: &Path, write: bool) -> Result<()> {
    let now = Costs {
        toolchain: toolchain()?,
        ways: WAYS.map(|way| Ok((way.to_owned(), measure(way)?))).into_iter().collect::<Result<_>>()?,
    };
    for (way, cost) in &now.ways {
        println!("{way:<8} {:>8.0} instructions, {:>6.2} allocations a message", cost.instructions, cost.allocations);
    }
    if write {
        return Ok(std::fs::write(kept, format!("{}\n", serde_json::to_string_pretty(&now)?))?);
    }
    let text = std::fs::read_to_string(kept).with_context(|| kept.display().to_string())?;
    let before: Costs = serde_json::from_str(&text).with_context(|| kept.display().to_string())?;
    if before.toolchain != now.toolchain {
        println!("not compared: {} is of {}, this is {}", kept.display(), before.toolchain, now.toolchain);
        return Ok(());
    }
    for (way, cost) in &now.ways {
        let Some(was) = before.ways.get(way) else { bail!("{} has no `{way}`: write it anew", kept.display()) };
        // A hundredth of an allocation is one that a buffer makes as it grows.
        let worse = cost.instructions > was.instructions * TOLERANCE || cost.allocations > was.allocations * TOLERANCE + 0.01;
        ensure!(
            !worse,
            "a message through `{way}` costs {cost:?}, and {was:?} before; if that is meant, `cargo xtask bench -- --cost bench/cost.json --keep`"
        );
    }
    Ok(())
}

fn toolchain() -> Result<String> {
    let version = Command::new("rustc").arg("--version").output().context("rustc does not start")?;
    Ok(format!("{}, {}", String::from_utf8_lossy(&version.stdout).trim(), std::env::consts::ARCH))
}

fn measure(way: &str) -> Result<Cost> {
    let (few, many) = (run(way, FEW)?, run(way, MANY)?);
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let each = |few: u64, many: u64| many.saturating_sub(few) as f64 / (MANY - FEW) as f64;
    let rounded = |figure: f64| (figure * 1000.0).round() / 1000.0;
    Ok(Cost { instructions: rounded(each(few.0, many.0)), allocations: rounded(each(few.1, many.1)) })
}

/// Instructions and allocations of a whole process.
fn run(way: &str, messages: u64) -> Result<(u64, u64)> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["--cost-of", way, &messages.to_string()])
        .output()
        .context("valgrind does not start")?;
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{way} failed: {log}");
    let instructions = log.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    let allocations = said.lines().last().and_then(|line| line.trim().parse().ok());
    Ok((instructions.context("callgrind said nothing")?, allocations.context("no allocations were said")?))
}

/// What a run under callgrind does: so many messages that way; prints the allocations.
pub(crate) fn of(way: &str, messages: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut done = Ok(());
    let counted = allocation_counter::measure(|| {
        done = match way {
            "channel" => runtime.block_on(channel(messages)),
            _ => runtime.block_on(whole(messages)),
        };
    });
    done?;
    println!("{}", counted.count_total);
    Ok(())
}

async fn channel(messages: u64) -> Result<()> {
    let (to, mut from) = mpsc::channel(256);
    let body = body(128);
    let sending = tokio::spawn(async move {
        for _ in 0..messages {
            to.send(body.clone()).await?;
        }
        anyhow::Ok(())
    });
    while let Some(body) = from.recv().await {
        let event: Sent = serde_json::from_slice(&body)?;
        std::hint::black_box(event.number + event.text.len() as u64);
    }
    sending.await?
}

async fn whole(messages: u64) -> Result<()> {
    let handled = Handled::default();
    let (running, publisher) = service("memory:cost", &handled).await?;
    let (topic, source) = names()?;
    let body = body(128);
    for _ in 0..messages {
        publisher.publish_message(&message(&topic, &source, &body)).await?;
    }
    handled.catch_up(messages, 0).await;
    let _ = running.stop().await;
    Ok(())
}
