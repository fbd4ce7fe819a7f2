//! Members come and go, and owners die.

use std::{sync::Arc, time::SystemTime};

use sqlx::SqliteConnection;
use tidings_core::{BrokerError, Members, Start, Subscription};
use tokio::sync::oneshot;

use super::{consume::Fetcher, desk::Desk, line::Line, member::Member, millis, topics};

/// A caller who wants to subscribe.
#[derive(Debug)]
pub(super) struct JoinJob {
    pub(super) subscription: Subscription,
    /// For the fetching half.
    pub(super) desk: Desk,
    pub(super) reply: oneshot::Sender<Result<Fetcher, BrokerError>>,
}

/// Who leaves, and whoever waits for it.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) member: Arc<Member>,
    pub(super) reply: Option<oneshot::Sender<Result<(), BrokerError>>>,
}

/// Joins: the subscription is made when it is new.
pub(super) async fn join(connection: &mut SqliteConnection, owner: i64, asked: &Subscription) -> Result<Member, sqlx::Error> {
    let member: i64 = sqlx::query_scalar("INSERT INTO member (owner, subscription) VALUES (?, 0) RETURNING id")
        .bind(owner)
        .fetch_one(&mut *connection)
        .await?;
    let only = if asked.members == Members::Each { member } else { 0 };
    let there: Option<i64> = sqlx::query_scalar("SELECT id FROM subscription WHERE \"group\" = ? AND pattern = ? AND only = ?")
        .bind(asked.group.as_str())
        .bind(asked.pattern.as_str())
        .bind(only)
        .fetch_optional(&mut *connection)
        .await?;
    let line = match there {
        Some(line) => line,
        None => found(connection, asked, only).await?,
    };
    sqlx::query("UPDATE member SET subscription = ? WHERE id = ?").bind(line).bind(member).execute(connection).await?;
    Ok(Member::new(member, line, asked.unsettled))
}

async fn found(connection: &mut SqliteConnection, asked: &Subscription, only: i64) -> Result<i64, sqlx::Error> {
    let position = match asked.start {
        _ if asked.members == Members::Each => newest(connection).await?,
        None | Some(Start::First) => 0,
        Some(Start::Now) => newest(connection).await?,
        Some(Start::At(time)) => before(connection, time).await?,
    };
    found_at(connection, None, asked, only, position).await
}

/// Makes a subscription, under a number that it had before if it had one.
async fn found_at(
    connection: &mut SqliteConnection,
    id: Option<i64>,
    asked: &Subscription,
    only: i64,
    position: i64,
) -> Result<i64, sqlx::Error> {
    const FOUND: &str = "INSERT INTO subscription (id, \"group\", pattern, only, position) VALUES (?, ?, ?, ?, ?) RETURNING id";
    let line = sqlx::query_scalar(FOUND)
        .bind(id)
        .bind(asked.group.as_str())
        .bind(asked.pattern.as_str())
        .bind(only)
        .bind(position)
        .fetch_one(&mut *connection)
        .await?;
    topics::connect_all(connection, line, &asked.pattern).await?;
    Ok(line)
}

/// Joins again under the numbers that a member and its line had, when others have found its owner dead.
pub(super) async fn come_back(
    connection: &mut SqliteConnection,
    owner: i64,
    member: i64,
    line: &Line,
) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT INTO member (id, owner, subscription) VALUES (?, ?, ?)")
        .bind(member)
        .bind(owner)
        .bind(line.id)
        .execute(&mut *connection)
        .await?;
    if line.asked.members == Members::Each {
        let position = newest(connection).await?;
        found_at(connection, Some(line.id), &line.asked, member, position).await?;
    }
    Ok(())
}

async fn newest(connection: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT ifnull(max(seq), 0) FROM message").fetch_one(connection).await
}

/// Where everything published at that time or later comes after. Looked for once in a group's life: without an index.
async fn before(connection: &mut SqliteConnection, time: SystemTime) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("SELECT ifnull((SELECT seq - 1 FROM message WHERE at >= ? ORDER BY seq LIMIT 1), (SELECT ifnull(max(seq), 0) FROM message))")
        .bind(millis(time))
        .fetch_one(connection)
        .await
}

/// Ends a member: what it did not settle is there for the others.
pub(super) async fn leave(connection: &mut SqliteConnection, member: i64, line: i64) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM member WHERE id = ?").bind(member).execute(&mut *connection).await?;
    let own = sqlx::query("DELETE FROM subscription WHERE id = ? AND only = ?")
        .bind(line)
        .bind(member)
        .execute(&mut *connection)
        .await?;
    if own.rows_affected() > 0 {
        for delete in ["DELETE FROM delivery WHERE subscription = ?", "DELETE FROM route WHERE subscription = ?"] {
            sqlx::query(delete).bind(line).execute(&mut *connection).await?;
        }
        return Ok(());
    }
    sqlx::query("UPDATE delivery SET state = 0, member = NULL WHERE subscription = ? AND member = ?")
        .bind(line)
        .bind(member)
        .execute(connection)
        .await
        .map(drop)
}

/// Ends an owner with all its members.
pub(super) async fn end_owner(connection: &mut SqliteConnection, owner: i64) -> Result<(), sqlx::Error> {
    let members: Vec<(i64, i64)> =
        sqlx::query_as("SELECT id, subscription FROM member WHERE owner = ?").bind(owner).fetch_all(&mut *connection).await?;
    for (member, line) in members {
        leave(connection, member, line).await?;
    }
    sqlx::query("DELETE FROM owner WHERE id = ?").bind(owner).execute(connection).await.map(drop)
}
