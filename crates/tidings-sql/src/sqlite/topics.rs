//! The numbers of topics, and which subscriptions they go to.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use tidings_core::{Topic, TopicPattern};

/// What is known of the table `topic`, whose rows never change.
#[derive(Debug, Default)]
pub(super) struct Topics {
    by_name: HashMap<Topic, i64>,
    by_id: HashMap<i64, Topic>,
}

impl Topics {
    /// Above this they are looked up anew: topics may be made of data.
    const MAX: usize = 4_096;

    /// After a roll-back, for some may have been in it.
    pub(super) fn clear(&mut self) {
        self.by_name.clear();
        self.by_id.clear();
    }

    /// The topic's number; a new topic gets one, and its routes.
    pub(super) async fn id(&mut self, connection: &mut SqliteConnection, topic: &Topic) -> Result<i64, sqlx::Error> {
        if let Some(id) = self.by_name.get(topic) {
            return Ok(*id);
        }
        let there = sqlx::query_scalar("SELECT id FROM topic WHERE name = ?")
            .bind(topic.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let id = match there {
            Some(id) => id,
            None => add(connection, topic).await?,
        };
        self.remember(id, topic);
        Ok(id)
    }

    /// The topic of a number.
    pub(super) async fn name(&mut self, connection: &mut SqliteConnection, id: i64) -> Result<Topic, sqlx::Error> {
        if let Some(topic) = self.by_id.get(&id) {
            return Ok(topic.clone());
        }
        let name: String = sqlx::query_scalar("SELECT name FROM topic WHERE id = ?").bind(id).fetch_one(connection).await?;
        let topic = Topic::from_wire(name).map_err(|error| sqlx::Error::Decode(error.into()))?;
        self.remember(id, &topic);
        Ok(topic)
    }

    fn remember(&mut self, id: i64, topic: &Topic) {
        if self.by_id.len() >= Self::MAX {
            self.clear();
        }
        self.by_id.insert(id, topic.clone());
        self.by_name.insert(topic.clone(), id);
    }
}

pub(super) fn is_letter(topic: &Topic) -> bool {
    topic.as_str().starts_with("dead.")
}

async fn add(connection: &mut SqliteConnection, topic: &Topic) -> Result<i64, sqlx::Error> {
    let id: i64 = sqlx::query_scalar("INSERT INTO topic (name, letter) VALUES (?, ?) RETURNING id")
        .bind(topic.as_str())
        .bind(is_letter(topic))
        .fetch_one(&mut *connection)
        .await?;
    let subscriptions: Vec<(i64, String)> =
        sqlx::query_as("SELECT id, pattern FROM subscription").fetch_all(&mut *connection).await?;
    for (subscription, pattern) in subscriptions {
        if TopicPattern::new(&pattern).is_ok_and(|pattern| pattern.matches(topic)) {
            connect(connection, subscription, id).await?;
        }
    }
    Ok(id)
}

/// Gives a new subscription its routes.
pub(super) async fn connect_all(
    connection: &mut SqliteConnection,
    subscription: i64,
    pattern: &TopicPattern,
) -> Result<(), sqlx::Error> {
    let topics: Vec<(i64, String)> = sqlx::query_as("SELECT id, name FROM topic").fetch_all(&mut *connection).await?;
    for (id, name) in topics {
        if Topic::from_wire(name).is_ok_and(|topic| pattern.matches(&topic)) {
            connect(connection, subscription, id).await?;
        }
    }
    Ok(())
}

async fn connect(connection: &mut SqliteConnection, subscription: i64, topic: i64) -> Result<(), sqlx::Error> {
    sqlx::query("INSERT OR IGNORE INTO route VALUES (?, ?)").bind(subscription).bind(topic).execute(connection).await.map(drop)
}
