//! Settling deliveries. A settlement names its delivery, so that one come too late touches nothing.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use sqlx::SqliteConnection;
use tidings_core::{BrokerError, Outcome, Receipt};
use tokio::sync::oneshot;

use super::member::Member;

/// A caller's batch.
#[derive(Debug)]
pub(super) struct SettleJob {
    pub(super) member: Arc<Member>,
    pub(super) outcomes: Vec<(Receipt, Outcome)>,
    /// When it was asked for: waits are counted from here.
    pub(super) now: i64,
    pub(super) reply: oneshot::Sender<Result<(), BrokerError>>,
}

/// Picks the rows that are in hand by the deliveries that the JSON array `?2` names.
macro_rules! in_hand {
    () => {
        "(SELECT d.seq FROM json_each(?2) j JOIN delivery d ON d.subscription = ?1 AND d.seq = j.value ->> 0
          WHERE d.state = 1 AND d.member = ?3 AND d.deliveries = j.value ->> 1)"
    };
}

const END: &str = concat!("DELETE FROM delivery WHERE subscription = ?1 AND seq IN ", in_hand!());
const HAND_BACK: &str = concat!("UPDATE delivery SET state = 0, member = NULL WHERE subscription = ?1 AND seq IN ", in_hand!());
/// What was never handed on: no delivery.
const PUT_BACK: &str = concat!(
    "UPDATE delivery SET state = 0, member = NULL, deliveries = deliveries - 1 WHERE subscription = ?1 AND seq IN ",
    in_hand!()
);
const RETRY: &str = "
    UPDATE delivery SET state = iif(j.due > 0, 2, 0), member = NULL, due = j.due,
      attempts = max(delivery.attempts + 1, j.attempts)
    FROM (SELECT value ->> 0 AS seq, value ->> 1 AS number, value ->> 2 AS due, value ->> 3 AS attempts FROM json_each(?2)) j
    WHERE delivery.subscription = ?1 AND delivery.seq = j.seq AND delivery.state = 1 AND delivery.member = ?3
      AND delivery.deliveries = j.number";

/// Settles a batch; answers whether something comes again.
pub(super) async fn settle(connection: &mut SqliteConnection, job: &SettleJob) -> Result<bool, sqlx::Error> {
    let (mut ended, mut back, mut retried) = (Vec::new(), Vec::new(), Vec::new());
    for (receipt, outcome) in &job.outcomes {
        let [seq, number] = numbers(receipt);
        match outcome {
            Outcome::Ack | Outcome::Reject => ended.push(json!([seq, number])),
            Outcome::HandBack => back.push(json!([seq, number])),
            Outcome::Retry { after, attempts } => retried.push(json!([seq, number, due(job.now, *after), attempts])),
        }
    }
    let again = !(back.is_empty() && retried.is_empty());
    for (sql, rows) in [(END, ended), (HAND_BACK, back), (RETRY, retried)] {
        run(connection, sql, &job.member, rows).await?;
    }
    Ok(again)
}

/// Gives back what a member was given and never fetched.
pub(super) async fn put_back(
    connection: &mut SqliteConnection,
    member: &Member,
    receipts: &[Receipt],
) -> Result<(), sqlx::Error> {
    run(connection, PUT_BACK, member, receipts.iter().map(|receipt| json!(numbers(receipt))).collect()).await
}

async fn run(connection: &mut SqliteConnection, sql: &'static str, member: &Member, rows: Vec<Value>) -> Result<(), sqlx::Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let rows = Value::from(rows).to_string();
    sqlx::query(sql).bind(member.line).bind(rows).bind(member.id).execute(connection).await.map(drop)
}

/// The message's number, and the delivery's.
fn numbers(receipt: &Receipt) -> [i64; 2] {
    let [_, seq, number] = receipt.0;
    [seq.cast_signed(), number.cast_signed()]
}

/// The first whole millisecond that is not too early; 0 for at once.
fn due(now: i64, after: Duration) -> i64 {
    if after.is_zero() {
        return 0;
    }
    // The clock's own milliseconds are cut: one more.
    now.saturating_add(i64::try_from(after.as_millis()).unwrap_or(i64::MAX)).saturating_add(2)
}
