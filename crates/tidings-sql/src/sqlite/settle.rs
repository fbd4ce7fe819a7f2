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

/// Picks the rows that are in hand by the deliveries that the JSON array `?2` names. A cross join is done as it is written:
/// each of the array's few rows looks for its own, not each row of the subscription for one in the array.
macro_rules! in_hand {
    () => {
        "(SELECT d.seq FROM json_each(?2) j CROSS JOIN delivery d
          WHERE d.subscription = ?1 AND d.seq = j.value ->> 0
            AND d.state = 1 AND d.member = ?3 AND d.deliveries = j.value ->> 1)"
    };
}

pub(super) const END: &str = concat!("DELETE FROM delivery WHERE subscription = ?1 AND seq IN ", in_hand!());
pub(super) const HAND_BACK: &str =
    concat!("UPDATE delivery SET state = 0, member = NULL WHERE subscription = ?1 AND seq IN ", in_hand!());
/// What was never handed on: no delivery.
pub(super) const PUT_BACK: &str = concat!(
    "UPDATE delivery SET state = 0, member = NULL, deliveries = deliveries - 1 WHERE subscription = ?1 AND seq IN ",
    in_hand!()
);
pub(super) const RETRY: &str = "
    UPDATE delivery SET state = iif(?5 > 0, 2, 0), member = NULL, due = ?5, attempts = max(attempts + 1, ?6)
    WHERE subscription = ?1 AND seq = ?2 AND state = 1 AND member = ?3 AND deliveries = ?4";

/// Settles a batch; answers whether something comes again.
pub(super) async fn settle(connection: &mut SqliteConnection, job: &SettleJob) -> Result<bool, sqlx::Error> {
    let (mut ended, mut back, mut retried) = (Vec::new(), Vec::new(), false);
    for (receipt, outcome) in &job.outcomes {
        let [seq, number] = numbers(receipt);
        match outcome {
            Outcome::Ack | Outcome::Reject => ended.push(json!([seq, number])),
            Outcome::HandBack => back.push(json!([seq, number])),
            Outcome::Retry { after, attempts } => {
                retried = true;
                sqlx::query(RETRY)
                    .bind(job.member.line)
                    .bind(seq)
                    .bind(job.member.id)
                    .bind(number)
                    .bind(due(job.now, *after))
                    .bind(attempts)
                    .execute(&mut *connection)
                    .await?;
            }
        }
    }
    let again = retried || !back.is_empty();
    for (sql, rows) in [(END, ended), (HAND_BACK, back)] {
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
