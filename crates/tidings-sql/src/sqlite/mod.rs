//! The broker in a SQLite file.
//!
//! One task has the file (`engine`) and does what callers ask of it (`desk`) in one transaction at a time (`turn`):
//! storing (`publish`, `row`, `topics`, `later`), claiming (`line`, `claim`), settling (`settle`), coming and going (`join`,
//! `owner`, `pen`), and what time asks for (`upkeep`, `sweep`). Callers of a subscription hold `consume`, whose mail is `member`.

mod bell;
mod claim;
mod consume;
mod desk;
mod engine;
mod join;
mod later;
mod line;
mod member;
mod open;
mod owner;
mod pen;
#[cfg(test)]
mod plans;
mod publish;
mod row;
mod settle;
mod sweep;
mod topics;
mod turn;
mod upkeep;

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Client, Delay, EarliestStart, Health, KeyOrder, Link, Members, Message,
    PublishError, PublishFailures, Start, Subscribed, Subscription,
};
use tokio::{sync::oneshot, time::timeout};

use self::{
    consume::Settler,
    desk::{Command, Desk},
    engine::Engine,
    join::JoinJob,
    publish::PublishJob,
};
use crate::settings::Settings;

pub(crate) const NAME: &str = "sqlite";
/// How long a transaction waits for that of another process.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// How long closing may take, within the contract's 5 s.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(4_800);

/// One opening of a file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    settings: Arc<Settings>,
    desk: Desk,
}

impl Sqlite {
    pub(crate) async fn open(settings: Settings, client: Client) -> Result<Self, BrokerError> {
        let settings = Arc::new(settings);
        let desk = Engine::start(Arc::clone(&settings), client).await?;
        Ok(Self { settings, desk })
    }

    /// Publishes what can be published at all; `failed` has the rest already.
    async fn publish_checked(&self, messages: Vec<(usize, Message)>, failed: &mut Vec<(usize, PublishError)>) {
        let places: Vec<_> = messages.iter().map(|(place, _)| *place).collect();
        let (reply, answer) = oneshot::channel();
        let sent = self.desk.send(Command::Publish(PublishJob { messages, reply })).await;
        match if sent.is_ok() { answer.await.ok() } else { None } {
            Some(refused) => failed.extend(refused),
            None => failed.extend(places.into_iter().map(|place| (place, PublishError::Closed))),
        }
    }
}

impl Broker for Sqlite {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        capabilities(&self.settings)
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            if self.desk.check().is_err() {
                return PublishFailures::check(PublishFailures::all(batch.len(), || PublishError::Closed).into_failed());
            }
            let (mut messages, mut failed) = (Vec::with_capacity(batch.len()), Vec::new());
            for (place, message) in batch.iter().enumerate() {
                match publish::check(message, &self.settings) {
                    Ok(()) => {
                        let bare = self.settings.bare.as_ref().map(|source| message.bare(source));
                        messages.push((place, bare.unwrap_or_else(|| message.clone())));
                    }
                    Err(error) => failed.push((place, error)),
                }
            }
            if !messages.is_empty() {
                self.publish_checked(messages, &mut failed).await;
                failed.sort_by_key(|(place, _)| *place);
            }
            PublishFailures::check(failed)
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        Box::pin(async { self.desk.check().map(|()| Link(0)) })
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            check(&subscription, &self.capabilities())?;
            let (reply, answer) = oneshot::channel();
            let job = JoinJob { subscription, desk: self.desk.clone(), reply };
            self.desk.send(Command::Join(job)).await?;
            let fetcher = answer.await.unwrap_or_else(|_| Err(desk::closed()))?;
            let settler = Settler { desk: self.desk.clone(), member: Arc::clone(&fetcher.member) };
            let halves: Subscribed = (Box::new(fetcher), Arc::new(settler));
            Ok(halves)
        })
    }

    fn health(&self) -> Health {
        self.desk.shared().health()
    }

    fn counters(&self) -> Vec<(&'static str, u64)> {
        let shared = self.desk.shared();
        vec![("duplicates", shared.duplicates.load(Ordering::Relaxed)), ("expired", shared.expired.load(Ordering::Relaxed))]
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async {
            timeout(CLOSE_TIMEOUT, self.desk.close())
                .await
                .map_err(|late| BrokerError::Unavailable { broker: NAME.to_owned(), source: late.into() })
        })
    }
}

fn capabilities(settings: &Settings) -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.durable = true;
    capabilities.groups = true;
    capabilities.wildcards = true;
    capabilities.key_order = KeyOrder::Group;
    capabilities.delay = Delay::Native;
    capabilities.longest_delay = later::LONGEST;
    capabilities.deduplication = true;
    capabilities.attempt_counts = true;
    capabilities.earliest_start = EarliestStart::First;
    capabilities.retention = settings.max_age;
    capabilities.max_message = settings.largest_event();
    capabilities
}

fn check(asked: &Subscription, capabilities: &Capabilities) -> Result<(), BrokerError> {
    if asked.members == Members::Each && matches!(asked.start, Some(Start::First | Start::At(_))) {
        return Err(BrokerError::Unsupported {
            broker: NAME,
            capability: "give each instance messages that were published before it subscribed",
            instead: "start it now, or let the instances share the group",
        });
    }
    if asked.unsettled > capabilities.max_unsettled {
        return Err(BrokerError::Unsupported {
            broker: NAME,
            capability: "have more than 65,535 deliveries unsettled in one subscription",
            instead: "lower in_flight or parked",
        });
    }
    Ok(())
}

/// Milliseconds since 1970, as the file has its times.
fn now() -> i64 {
    millis(SystemTime::now())
}

fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
