//! Storing what is published, many callers' batches in one transaction.

use sqlx::SqliteConnection;
use tidings_core::{Message, PublishError, Topic, url::Size};
use tokio::sync::oneshot;

use super::{
    NAME, capabilities, later, now,
    row::{self, NewRow},
    topics::{Topics, is_letter},
};
use crate::{error::not_published, settings::Settings};

/// A caller's batch, with each message's place in it.
#[derive(Debug)]
pub(super) struct PublishJob {
    pub(super) messages: Vec<(usize, Message)>,
    pub(super) reply: oneshot::Sender<Vec<(usize, PublishError)>>,
}

/// What storing did.
#[derive(Debug, Default)]
pub(super) struct Published {
    /// What was not taken, for each job.
    pub(super) failed: Vec<Vec<(usize, PublishError)>>,
    pub(super) topics: Vec<Topic>,
    pub(super) duplicates: u64,
    pub(super) bytes: i64,
    /// Some are held back until they are due.
    pub(super) later: bool,
}

/// How much is kept, and the newest publish time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Totals {
    pub(super) bytes: i64,
    pub(super) letters: i64,
    newest: i64,
}

#[derive(Debug, thiserror::Error)]
#[error("{file} is full: it keeps {kept} of {limit}; {way_out}")]
struct Full {
    file: String,
    kept: Size,
    limit: Size,
    way_out: &'static str,
}

/// Rows that one statement stores; a statement is prepared once for each number of rows.
const CHUNK: usize = 64;

/// Whether a message can be taken at all, checked before it is queued.
pub(super) fn check(message: &Message, settings: &Settings) -> Result<(), PublishError> {
    if message.due().is_some() {
        capabilities(settings).check_due(NAME, message)?;
    }
    message.topic().check_for_publish()?;
    let (size, limit) = (message.size(), settings.largest(message.topic()));
    if size > limit {
        return Err(PublishError::TooLarge { topic: message.topic().to_string(), size, limit });
    }
    Ok(())
}

pub(super) async fn store(
    connection: &mut SqliteConnection,
    topics: &mut Topics,
    settings: &Settings,
    jobs: &[PublishJob],
) -> Result<Published, sqlx::Error> {
    let mut published = Published::default();
    let mut totals = Totals::read(connection).await?;
    totals.published_at(now());
    let mut rows = Vec::new();
    for job in jobs {
        let mut failed = Vec::new();
        for (place, message) in &job.messages {
            let Some(size) = totals.add(message, settings) else {
                failed.push((*place, not_published(totals.full(message, settings))));
                continue;
            };
            let topic = topics.id(connection, message.topic()).await?;
            published.bytes += size;
            let row = NewRow { topic, at: totals.newest, size, message };
            if let Some(due) = message.due() {
                published.later = true;
                if !later::hold_back(connection, &row, due).await? {
                    published.duplicates += 1;
                    totals.take_back(&[row], Vec::new());
                }
                continue;
            }
            if !published.topics.contains(message.topic()) {
                published.topics.push(message.topic().clone());
            }
            rows.push(row);
        }
        published.failed.push(failed);
    }
    for chunk in rows.chunks(CHUNK) {
        let stored = row::insert(chunk).build_query_as().fetch_all(&mut *connection).await?;
        if stored.len() < chunk.len() {
            published.duplicates += chunk.len().saturating_sub(stored.len()) as u64;
            totals.take_back(chunk, stored);
        }
    }
    totals.write(connection).await?;
    Ok(published)
}

impl Totals {
    pub(super) async fn read(connection: &mut SqliteConnection) -> Result<Self, sqlx::Error> {
        let (bytes, letters, newest) = sqlx::query_as("SELECT bytes, letters, newest FROM broker").fetch_one(connection).await?;
        Ok(Self { bytes, letters, newest })
    }

    /// The publish time of what is stored now. Rising, whatever the clock does: retention and `Start::At` look for a time as for a
    /// number.
    pub(super) fn published_at(&mut self, now: i64) -> i64 {
        self.newest = self.newest.max(now);
        self.newest
    }

    /// Counts out what went, dead letters apart.
    pub(super) fn drop_bytes(&mut self, bytes: i64) {
        self.bytes = (self.bytes - bytes).max(0);
    }

    pub(super) async fn write(self, connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        sqlx::query("UPDATE broker SET bytes = ?, letters = ?, newest = ?")
            .bind(self.bytes)
            .bind(self.letters)
            .bind(self.newest)
            .execute(connection)
            .await
            .map(drop)
    }

    /// Counts a message in, when there is room; answers its size.
    fn add(&mut self, message: &Message, settings: &Settings) -> Option<i64> {
        let size = i64::try_from(message.size()).unwrap_or(i64::MAX);
        let (kept, limit) = self.kept(message.topic(), settings);
        if kept.saturating_add(size).cast_unsigned() > limit {
            return None;
        }
        *kept += size;
        Some(size)
    }

    fn kept(&mut self, topic: &Topic, settings: &Settings) -> (&mut i64, u64) {
        if is_letter(topic) { (&mut self.letters, settings.letters_max_bytes) } else { (&mut self.bytes, settings.max_bytes) }
    }

    fn full(&mut self, message: &Message, settings: &Settings) -> Full {
        let way_out = if is_letter(message.topic()) {
            "drop dead letters, or raise letters_max_bytes"
        } else {
            "it takes more when messages are older than max_age; shorten that, or raise max_bytes"
        };
        let (kept, limit) = self.kept(message.topic(), settings);
        let [kept, limit] = [kept.cast_unsigned(), limit].map(Size);
        Full { file: settings.path.display().to_string(), kept, limit, way_out }
    }

    /// Counts out what was stored before: of the chunk, whatever is not among the stored.
    fn take_back(&mut self, chunk: &[NewRow<'_>], mut stored: Vec<(i64, i64)>) {
        for row in chunk {
            if let Some(place) = stored.iter().position(|there| *there == (row.topic, row.size)) {
                stored.swap_remove(place);
            } else if is_letter(row.message.topic()) {
                self.letters -= row.size;
            } else {
                self.bytes -= row.size;
            }
        }
    }
}
