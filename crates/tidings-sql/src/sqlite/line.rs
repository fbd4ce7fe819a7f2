//! A subscription that has members here, and whether there is anything for it.

use std::sync::Arc;

use serde_json::json;
use sqlx::{Row, SqliteConnection};
use tidings_core::{Subscription, Topic};

use super::member::Member;

#[derive(Debug)]
pub(super) struct Line {
    pub(super) id: i64,
    pub(super) asked: Subscription,
    pub(super) members: Vec<Arc<Member>>,
    pub(super) seen: Seen,
}

/// What is known of a line since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// There may be something to claim.
    pub(super) hot: bool,
    /// Nothing for it is between the stored position and here.
    pub(super) scanned: i64,
    /// When the next message that waits is due.
    pub(super) due: Option<i64>,
}

/// What one look shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// Something comes again.
    open: bool,
    due: Option<i64>,
    /// There is a new message.
    next: bool,
    /// From where new ones are looked for, and how far.
    pub(super) from: i64,
    pub(super) to: i64,
    /// The position as it is stored.
    pub(super) stored: i64,
    /// The newest message of all.
    last: i64,
    pub(super) now: i64,
}

/// How far one statement looks for messages of a subscription's topics among others, from the first message there is: the
/// numbers of those that went may leave wide gaps.
const REACH: i64 = 10_000;

impl Line {
    pub(super) fn new(id: i64, asked: Subscription) -> Self {
        Self { id, asked, members: Vec::new(), seen: Seen { hot: true, scanned: 0, due: None } }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.members.iter().any(|member| member.room() > 0)
    }

    pub(super) fn heat(&mut self) {
        self.seen.hot = true;
    }

    pub(super) fn heat_for(&mut self, topics: &[Topic]) {
        self.seen.hot |= topics.iter().any(|topic| self.asked.pattern.matches(topic));
    }

    /// Looks whether there is anything to claim, without writing.
    pub(super) async fn look(&self, connection: &mut SqliteConnection, now: i64) -> Result<Look, sqlx::Error> {
        let members: Vec<_> = self.members.iter().filter(|member| member.room() > 0).map(|member| member.id).collect();
        let row = sqlx::query(LOOK).bind(self.id).bind(self.seen.scanned).bind(json!(members).to_string()).bind(REACH);
        let Some(row) = row.fetch_optional(connection).await? else { return Ok(Look::nothing(self.seen.scanned, now)) };
        let (from, last): (i64, i64) = (row.try_get(3)?, row.try_get(6)?);
        let first: Option<i64> = row.try_get(4)?;
        Ok(Look {
            open: row.try_get(0)?,
            due: row.try_get(1)?,
            next: row.try_get::<Option<i64>, _>(2)?.is_some(),
            from,
            to: first.map_or(from, |first| first.saturating_add(REACH - 1).min(last)),
            stored: row.try_get(5)?,
            last,
            now,
        })
    }
}

pub(super) const LOOK: &str = "
    SELECT
      EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_open
          WHERE subscription = s.id AND state = 0 AND member IS NULL)
        OR EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_open
          WHERE subscription = s.id AND state = 0 AND member IN (SELECT value FROM json_each(?3))),
      (SELECT min(due) FROM delivery WHERE subscription = s.id AND state = 2),
      (SELECT m.seq FROM message m INDEXED BY message_line
        WHERE m.seq >= s.first AND m.seq < s.first + ?4
          AND EXISTS (SELECT 1 FROM route r WHERE r.subscription = s.id AND r.topic = m.topic)
        ORDER BY m.seq LIMIT 1),
      s.start, s.first, s.position, (SELECT ifnull(max(seq), 0) FROM message)
    FROM (
      SELECT id, position, max(?2, position) AS start,
        (SELECT min(seq) FROM message WHERE seq > max(?2, position)) AS first
      FROM subscription WHERE id = ?1
    ) s";

impl Look {
    fn nothing(at: i64, now: i64) -> Self {
        Self { open: false, due: None, next: false, from: at, to: at, stored: at, last: at, now }
    }

    pub(super) fn is_due(&self) -> bool {
        self.due.is_some_and(|due| due <= self.now)
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.open && !self.next && !self.is_due()
    }

    /// What is known when everything up to `scanned` was looked at, and nothing that comes again was left.
    pub(super) fn seen(&self, scanned: i64) -> Seen {
        let scanned = scanned.max(self.from);
        // What has just become due may not be the last of its kind: look again.
        Seen { hot: scanned < self.last || self.is_due(), scanned, due: self.due }
    }
}
