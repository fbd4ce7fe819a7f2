//! What the admin port tells operators, and what the docs say of it.

use crate::support::{Ground, SOON, among_others, create_all};
use std::collections::BTreeSet;
use std::fs;
use tidings_testing::servers::Nats;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operating.md");

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_in_the_docs_and_no_others_are() {
    let _turn = among_others().await;
    let (Some(core), Some(jetstream)) = (Nats::start().await, Nats::with_jetstream().await) else { return };
    let mut shown = BTreeSet::new();
    for ground in [Ground::embedded(), Ground::on(&core.url()), Ground::on(&jetstream.jetstream_url())] {
        let (users, email) = (ground.users(&[]).await, ground.email(&[]).await);
        ground.mails().reach(&create_all(&users.client(), 0..1).await, SOON).await;
        shown.extend(names_in(&users.metrics().await));
        shown.extend(names_in(&email.metrics().await));
    }
    let page = fs::read_to_string(PAGE).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `tidings_")?.split_once('`'));
    let written: BTreeSet<String> = rows.map(|(name, _)| format!("tidings_{name}")).collect();
    assert_eq!(shown, written, "what is shown, and what docs/operating.md says");
}

/// The names of the metrics, as their samples have them.
fn names_in(metrics: &str) -> Vec<String> {
    let types = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() }).collect()
}
