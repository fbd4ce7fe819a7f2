//! Retention: messages that are old go, handled or not. Dead letters stay until somebody drops them.

use serde_json::Value;
use sqlx::SqliteConnection;

/// Messages whose time has come.
#[derive(Debug)]
pub(super) struct Old {
    seqs: String,
    bytes: i64,
    /// The last message that was looked at.
    pub(super) last: i64,
}

/// Messages that one transaction deletes.
const BATCH: i64 = 1_000;

pub(super) const UNSEEN: &str = "
    SELECT s.\"group\", s.pattern, count(*) FROM subscription s CROSS JOIN json_each(?1) j CROSS JOIN message m
    WHERE m.seq = j.value AND m.seq > s.position
      AND EXISTS (SELECT 1 FROM route r WHERE r.subscription = s.id AND r.topic = m.topic)
    GROUP BY s.id
    UNION ALL
    SELECT s.\"group\", s.pattern, count(*) FROM subscription s CROSS JOIN json_each(?1) j CROSS JOIN delivery d
    WHERE d.subscription = s.id AND d.seq = j.value AND d.state <> 1
    GROUP BY s.id";
pub(super) const DELETE: [&str; 2] = [
    "DELETE FROM delivery WHERE subscription IN (SELECT id FROM subscription) AND seq IN (SELECT value FROM json_each(?1))",
    "DELETE FROM message WHERE seq IN (SELECT value FROM json_each(?1))",
];

/// The next old messages beyond `swept`.
pub(super) async fn find(connection: &mut SqliteConnection, swept: i64, before: i64) -> Result<Option<Old>, sqlx::Error> {
    // Times rise with numbers: the first young one ends it.
    const FIND: &str = "SELECT m.seq, m.size, m.at, t.letter FROM message m JOIN topic t ON t.id = m.topic
                        WHERE m.seq > ? ORDER BY m.seq LIMIT ?";
    let rows: Vec<(i64, i64, i64, bool)> = sqlx::query_as(FIND).bind(swept).bind(BATCH).fetch_all(connection).await?;
    let old: Vec<_> = rows.into_iter().take_while(|(_, _, at, _)| *at < before).collect();
    let Some((last, ..)) = old.last().copied() else { return Ok(None) };
    let gone = || old.iter().filter(|(.., letter)| !letter);
    let seqs = gone().map(|(seq, ..)| *seq).collect::<Value>().to_string();
    Ok(Some(Old { seqs, bytes: gone().map(|(_, size, ..)| *size).sum(), last }))
}

/// Deletes them; answers how many of them some group had not handled.
pub(super) async fn delete(connection: &mut SqliteConnection, old: &Old) -> Result<u64, sqlx::Error> {
    let unseen: Vec<(String, String, i64)> = sqlx::query_as(UNSEEN).bind(&old.seqs).fetch_all(&mut *connection).await?;
    for (group, pattern, expired) in &unseen {
        tracing::warn!(group, pattern, expired, "messages became older than max_age before the group handled them");
    }
    for delete in DELETE {
        sqlx::query(delete).bind(&old.seqs).execute(&mut *connection).await?;
    }
    sqlx::query("UPDATE broker SET bytes = max(bytes - ?, 0)").bind(old.bytes).execute(connection).await?;
    Ok(unseen.iter().map(|(.., expired)| expired.cast_unsigned()).sum())
}
