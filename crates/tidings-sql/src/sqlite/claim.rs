//! Claiming messages for a member: nothing of a key that another member has in hand.
//!
//! A subscription looks at each message once, as its position moves on. What it finds of a key in hand is laid up for the
//! key's holder, so that a stuck key costs the others nothing; what comes again is found by an index of its own.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use tidings_core::{Delivery, Receipt};

use super::{
    line::{Line, Look, Seen},
    member::Member,
    row,
    topics::Topics,
};

/// What claiming did; it counts once the transaction is committed.
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) taken: Vec<(Arc<Member>, Vec<Delivery>)>,
    /// Messages were laid up for members elsewhere.
    pub(super) elsewhere: bool,
    pub(super) seen: Seen,
}

/// A message that may be claimed.
#[derive(Debug)]
struct Candidate {
    seq: i64,
    size: i64,
    attempts: u32,
    deliveries: u32,
    /// Who has its key in hand.
    holder: Option<i64>,
}

/// Candidates, by who gets them.
#[derive(Debug, Default)]
struct Share {
    mine: Vec<Candidate>,
    others: Vec<Candidate>,
    /// The last one that is in the share.
    last: Option<i64>,
    /// Every candidate there was is in it.
    whole: bool,
}

/// What is read into memory at once beyond the first message, in bytes.
const BUDGET: i64 = 16 << 20;
/// A position that has moved this far without finding anything is stored.
const UNSTORED: i64 = 1_000;

pub(super) const WAKE_DUE: &str = "UPDATE delivery SET state = 0, due = 0 WHERE subscription = ? AND state = 2 AND due <= ?";
pub(super) const FIND_AGAIN: &str = "
        SELECT d.seq, m.size,
          (SELECT h.member FROM delivery h WHERE h.subscription = ?1 AND h.key = d.key AND h.member IS NOT NULL LIMIT 1),
          d.attempts, d.deliveries
        FROM (
          SELECT * FROM (SELECT * FROM delivery INDEXED BY delivery_open
            WHERE subscription = ?1 AND state = 0 AND member = ?2 ORDER BY seq LIMIT ?3)
          UNION ALL
          SELECT * FROM (SELECT * FROM delivery INDEXED BY delivery_open
            WHERE subscription = ?1 AND state = 0 AND member IS NULL ORDER BY seq LIMIT ?3)
        ) d JOIN message m ON m.seq = d.seq
        ORDER BY d.seq LIMIT ?3";
pub(super) const TAKE_AGAIN: &str = "UPDATE delivery SET state = 1, member = ?2, deliveries = deliveries + 1
                        WHERE subscription = ?1 AND seq IN (SELECT value FROM json_each(?3))";
pub(super) const LAY_UP: &str = "UPDATE delivery SET member = ?2 WHERE subscription = ?1 AND seq = ?3";
pub(super) const FIND_NEW: &str = "
        SELECT m.seq, m.size,
          (SELECT h.member FROM delivery h WHERE h.subscription = ?1 AND h.key = m.key AND h.member IS NOT NULL LIMIT 1),
          0, 0
        FROM message m INDEXED BY message_line
        WHERE m.seq > ?2 AND m.seq <= ?3 AND EXISTS (SELECT 1 FROM route r WHERE r.subscription = ?1 AND r.topic = m.topic)
        ORDER BY m.seq LIMIT ?4";
pub(super) const TAKE_NEW: &str = "
        INSERT INTO delivery (subscription, seq, state, key, member, due, attempts, deliveries)
        SELECT ?1, m.seq, j.value ->> 1, m.key, j.value ->> 2, 0, 0, j.value ->> 1
        FROM json_each(?2) j CROSS JOIN message m WHERE m.seq = j.value ->> 0";

/// Claims for each member of a line what it has room for.
pub(super) async fn claim(
    connection: &mut SqliteConnection,
    topics: &mut Topics,
    line: &Line,
    look: Look,
) -> Result<Claims, sqlx::Error> {
    let mut claims = Claims { taken: Vec::new(), elsewhere: false, seen: look.seen(look.to) };
    if look.is_empty() {
        return Ok(claims);
    }
    if look.is_due() {
        wake_due(connection, line.id, look.now).await?;
    }
    // Where everybody is served there may be more, and nobody has looked.
    claims.seen = Seen { hot: true, ..look.seen(look.from) };
    let mut found = false;
    for member in &line.members {
        let room = i64::try_from(member.room()).unwrap_or(i64::MAX);
        if room == 0 {
            continue;
        }
        let mut again = find_again(connection, line.id, member.id, room).await?;
        take_again(connection, line.id, member.id, &again).await?;
        if again.whole && again.count() < room {
            let new = find_new(connection, line.id, member.id, claims.seen.scanned..look.to, room - again.count()).await?;
            take_new(connection, line.id, member.id, &new).await?;
            found |= new.last.is_some();
            let all = new.whole && new.count() < room - again.count();
            let scanned = if all { look.to } else { new.last.unwrap_or(claims.seen.scanned) };
            claims.seen = Seen { hot: !all || look.seen(scanned).hot, ..look.seen(scanned) };
            again.add(new);
        }
        let here = |other: &Candidate| line.members.iter().any(|member| Some(member.id) == other.holder);
        claims.elsewhere |= !again.others.iter().all(here);
        // What was laid up for a member here is its next work.
        claims.seen.hot |= again.others.iter().any(here);
        let deliveries = read(connection, topics, line.id, again.mine).await?;
        if !deliveries.is_empty() {
            claims.taken.push((Arc::clone(member), deliveries));
        }
    }
    // Whatever was found has a row of its own now, also what waits for a member here: nobody may find it again.
    if found || claims.seen.scanned - look.stored > UNSTORED {
        move_on(connection, line.id, claims.seen.scanned).await?;
    }
    Ok(claims)
}

impl Share {
    /// Parts candidates in order, until there is enough to read at once.
    fn of(candidates: Vec<Candidate>, member: i64) -> Self {
        let mut share = Self { whole: true, ..Self::default() };
        let mut bytes = 0;
        for candidate in candidates {
            let last = candidate.seq;
            if candidate.holder.is_some_and(|holder| holder != member) {
                share.others.push(candidate);
            } else {
                bytes += candidate.size;
                if bytes > BUDGET && !share.mine.is_empty() {
                    share.whole = false;
                    return share;
                }
                share.mine.push(candidate);
            }
            share.last = Some(last);
        }
        share
    }

    fn count(&self) -> i64 {
        i64::try_from(self.mine.len() + self.others.len()).unwrap_or(i64::MAX)
    }

    fn add(&mut self, more: Self) {
        self.mine.extend(more.mine);
        self.others.extend(more.others);
    }
}

impl Candidate {
    fn read(row: &SqliteRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            seq: row.try_get(0)?,
            size: row.try_get(1)?,
            holder: row.try_get(2)?,
            attempts: row.try_get(3)?,
            deliveries: row.try_get(4)?,
        })
    }
}

async fn wake_due(connection: &mut SqliteConnection, line: i64, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query(WAKE_DUE).bind(line).bind(now).execute(connection).await.map(drop)
}

async fn find_again(connection: &mut SqliteConnection, line: i64, member: i64, room: i64) -> Result<Share, sqlx::Error> {
    let rows = sqlx::query(FIND_AGAIN).bind(line).bind(member).bind(room).fetch_all(connection).await?;
    Ok(Share::of(rows.iter().map(Candidate::read).collect::<Result<_, _>>()?, member))
}

async fn take_again(connection: &mut SqliteConnection, line: i64, member: i64, share: &Share) -> Result<(), sqlx::Error> {
    if !share.mine.is_empty() {
        let seqs: Value = share.mine.iter().map(|candidate| candidate.seq).collect();
        sqlx::query(TAKE_AGAIN).bind(line).bind(member).bind(seqs.to_string()).execute(&mut *connection).await?;
    }
    for other in &share.others {
        sqlx::query(LAY_UP).bind(line).bind(other.holder).bind(other.seq).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn find_new(
    connection: &mut SqliteConnection,
    line: i64,
    member: i64,
    among: std::ops::Range<i64>,
    room: i64,
) -> Result<Share, sqlx::Error> {
    let rows = sqlx::query(FIND_NEW).bind(line).bind(among.start).bind(among.end).bind(room).fetch_all(connection).await?;
    Ok(Share::of(rows.iter().map(Candidate::read).collect::<Result<_, _>>()?, member))
}

async fn take_new(connection: &mut SqliteConnection, line: i64, member: i64, share: &Share) -> Result<(), sqlx::Error> {
    if share.count() == 0 {
        return Ok(());
    }
    let mine = share.mine.iter().map(|candidate| json!([candidate.seq, 1, member]));
    let others = share.others.iter().map(|candidate| json!([candidate.seq, 0, candidate.holder]));
    let rows: Value = mine.chain(others).collect();
    sqlx::query(TAKE_NEW).bind(line).bind(rows.to_string()).execute(connection).await.map(drop)
}

async fn move_on(connection: &mut SqliteConnection, line: i64, position: i64) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE subscription SET position = max(position, ?2) WHERE id = ?1")
        .bind(line)
        .bind(position)
        .execute(connection)
        .await
        .map(drop)
}

/// Reads what was claimed, in order.
async fn read(
    connection: &mut SqliteConnection,
    topics: &mut Topics,
    line: i64,
    mine: Vec<Candidate>,
) -> Result<Vec<Delivery>, sqlx::Error> {
    if mine.is_empty() {
        return Ok(Vec::new());
    }
    let seqs: Value = mine.iter().map(|candidate| candidate.seq).collect();
    let rows = sqlx::query(row::SELECT).bind(seqs.to_string()).fetch_all(&mut *connection).await?;
    let mut messages = HashMap::with_capacity(rows.len());
    for row in &rows {
        let topic = topics.name(connection, row.try_get(1)?).await?;
        messages.insert(row.try_get::<i64, _>(0)?, row::read(row, topic)?);
    }
    let deliveries = mine.into_iter().filter_map(|Candidate { seq, attempts, deliveries, .. }| {
        let number = deliveries.saturating_add(1);
        Some(Delivery {
            message: messages.remove(&seq)?,
            receipt: Receipt([line.cast_unsigned(), seq.cast_unsigned(), number.into()]),
            attempts,
            deliveries: Some(number),
        })
    });
    Ok(deliveries.collect())
}
