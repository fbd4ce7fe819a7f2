//! The page that the figures go to.

use std::fmt::Write as _;

use crate::compare::{Outcome, Peers, median};

pub(crate) fn markdown(outcomes: &[Outcome], peers: Option<&Peers<'_>>, rounds: usize, seconds: u64) -> String {
    let mut page = format!(
        "# Benchmarks\n\n\
         Written by `cargo xtask bench`: {rounds} rounds of {seconds} s a variant, each in a process of its\n\
         own, the order rotating. A ratio is the median over the rounds of this variant / the first one of its table, in the same round,\n\
         with the lowest and highest. Absolute figures are of this machine in this hour: {}.\n\
         Why what is not reached is not: [costs.md](costs.md).\n",
        machine()
    );
    if let Some(peers) = peers {
        let _ = write!(
            page,
            "\nRustStream stands in the tables whose messages carry no attributes, for it sends none; it is the program `bench/peers` with\n\
             {}.\n",
            peers.versions
        );
    }
    for outcome in outcomes {
        let comparison = &outcome.comparison;
        let _ = write!(page, "\n## {}\n\n{}\n", comparison.name, comparison.about);
        if let Some(why) = &outcome.skipped {
            let _ = writeln!(page, "\nNot run: {why}.");
            continue;
        }
        let _ = write!(page, "\n| variant | {} | ratio [range] | asked for |\n| --- | --- | --- | --- |\n", comparison.unit);
        for (at, variant) in comparison.variants.iter().enumerate() {
            let ratios: Vec<f64> = outcome.figures[at].iter().zip(&outcome.figures[0]).map(|(ours, raw)| ours / raw).collect();
            let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let asked = variant.at_least.map_or(String::new(), |least| format!("≥ {least}"));
            let figure = median(&outcome.figures[at]);
            let ratio = median(&ratios);
            let _ = writeln!(page, "| {} | {figure:.0} | {ratio:.2} [{lowest:.2}–{highest:.2}] | {asked} |", variant.name);
        }
    }
    page
}

fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| Some(line.strip_prefix("model name")?.split_once(':')?.1.trim().to_owned()));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZeroUsize::get);
    format!("{cores} × {}", cpu.unwrap_or_else(|| std::env::consts::ARCH.to_owned()))
}
