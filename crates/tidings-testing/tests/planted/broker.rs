//! A broker around `memory:` that does one thing wrong: what goes in.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Capabilities, Fetch, GroupName, Headers, Health, Link, Message, MessageId, PublishError,
    PublishFailures, Settle, Subscribed, Subscription,
};
use tokio::sync::oneshot;

use crate::{
    Bug,
    halves::{Held, Late, PlantedFetch, PlantedSettle},
};

/// What the openings of one place share.
#[derive(Default)]
pub(crate) struct Shared {
    published: AtomicUsize,
    ids: Mutex<HashSet<MessageId>>,
    members: AtomicUsize,
    /// How often each group was left in order.
    pub(crate) left: Mutex<HashMap<GroupName, usize>>,
}

static PLACES: LazyLock<Mutex<HashMap<String, Arc<Shared>>>> = LazyLock::new(Mutex::default);

pub(crate) struct Planted {
    inner: Arc<dyn Broker>,
    bug: Bug,
    shared: Arc<Shared>,
}

impl Planted {
    pub(crate) fn new(inner: Arc<dyn Broker>, bug: Bug, place: &str) -> Self {
        let shared = Arc::clone(PLACES.lock().unwrap().entry(place.to_owned()).or_default());
        Self { inner, bug, shared }
    }

    /// What is published instead of a message.
    fn instead(&self, message: &Message) -> Vec<Message> {
        let number = self.shared.published.fetch_add(1, Ordering::Relaxed);
        let one_in_a_thousand = number % 1_000 == 999;
        let own = || message.clone().into_builder().dedup_id(MessageId::generate().to_string());
        match self.bug {
            Bug::LosesOneInAThousand if one_in_a_thousand => Vec::new(),
            Bug::DoublesOneInAThousand if one_in_a_thousand => vec![message.clone(), own().build()],
            Bug::DeliversDelayedAtOnce => vec![message.clone().into_builder().due(None).build()],
            Bug::LosesWhatIsDelayed if message.due().is_some() => Vec::new(),
            Bug::RecognisesNothing => vec![own().build()],
            Bug::RecognisesByIdAlone if !self.shared.ids.lock().unwrap().insert(message.id().clone()) => Vec::new(),
            Bug::GivesAnotherInstanceAKeyInHand => vec![message.clone().into_builder().key(None).build()],
            Bug::MangledHeaderByte => vec![message.clone().into_builder().headers(mangled(message.headers())).build()],
            _ => vec![message.clone()],
        }
    }

    fn batch(&self, batch: &[Message]) -> Vec<Message> {
        let mut sent: Vec<_> = batch.iter().flat_map(|message| self.instead(message)).collect();
        let same_key = |pair: &[Message]| pair[0].key().is_some() && pair[0].key() == pair[1].key();
        if self.bug == Bug::SwapsTwoOfAKey
            && let Some(first) = sent.windows(2).position(same_key)
        {
            sent.swap(first, first + 1);
        }
        sent
    }

    /// Refuses what is larger than an event may be, letters too.
    fn refused(&self, batch: &[Message]) -> Vec<(usize, PublishError)> {
        let limit = self.inner.capabilities().max_message;
        let large = batch.iter().enumerate().filter(|(_, message)| message.size() > limit);
        large
            .map(|(n, message)| (n, PublishError::TooLarge { topic: message.topic().to_string(), size: message.size(), limit }))
            .collect()
    }

    fn subscription(&self, mut asked: Subscription) -> Subscription {
        let renamed = |name: String| GroupName::new(&name).unwrap();
        match self.bug {
            Bug::MixesGroups => asked.group = renamed("everybody".to_owned()),
            Bug::LeaksPastUnsettled => asked.unsettled += 1,
            Bug::ForgetsTheGroupAtAClose => {
                let times = self.shared.left.lock().unwrap().get(&asked.group).copied().unwrap_or_default();
                asked.group = renamed(format!("{}-{times}", asked.group));
            }
            _ => {}
        }
        asked
    }

    fn wrap(&self, group: GroupName, (fetch, settle): Subscribed) -> Subscribed {
        let held = Held::default();
        let member = self.shared.members.fetch_add(1, Ordering::Relaxed);
        let (bug, shared) = (self.bug, Arc::clone(&self.shared));
        let fetch = PlantedFetch { inner: fetch, settle: Arc::clone(&settle), bug, shared, group, held: held.clone(), member };
        (Box::new(fetch), Arc::new(PlantedSettle { inner: settle, bug, held }))
    }
}

/// The last byte of the last value that has one is another.
fn mangled(headers: &Headers) -> Headers {
    let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if let Some((_, value)) = all.iter_mut().rev().find(|(_, value)| value.ends_with(|last: char| last.is_ascii())) {
        value.pop();
        value.push('~');
    }
    let mut mangled = Headers::new();
    for (name, value) in all {
        mangled.append(name, value).unwrap();
    }
    mangled
}

impl Broker for Planted {
    fn name(&self) -> &'static str {
        "planted"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn publish<'a>(&'a self, batch: &'a [Message]) -> BoxFuture<'a, Result<(), PublishFailures>> {
        Box::pin(async move {
            if self.bug == Bug::HasNoRoomForALetter {
                PublishFailures::check(self.refused(batch))?;
            }
            let sent = self.batch(batch);
            match self.inner.publish(&sent).await {
                Err(failures) if self.bug == Bug::TakesPublishesWhenClosed => {
                    let open = failures.into_failed().into_iter().filter(|(_, why)| !matches!(why, PublishError::Closed));
                    PublishFailures::check(open.collect())
                }
                Err(failures) if self.bug == Bug::NamesTheWrongFailure => {
                    let moved = failures.into_failed().into_iter().map(|(place, why)| (place.saturating_sub(1), why));
                    PublishFailures::check(moved.collect())
                }
                other => other,
            }
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<Link, BrokerError>> {
        self.inner.flush()
    }

    fn subscribe(&self, subscription: Subscription) -> BoxFuture<'_, Result<Subscribed, BrokerError>> {
        Box::pin(async move {
            let group = subscription.group.clone();
            let asked = self.subscription(subscription);
            if self.bug != Bug::SubscribesTooLate {
                return Ok(self.wrap(group, self.inner.subscribe(asked).await?));
            }
            let (inner, (sender, halves)) = (Arc::clone(&self.inner), oneshot::channel());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = sender.send(inner.subscribe(asked).await);
            });
            let (fetch, settle) = Late::of(halves);
            Ok((Box::new(fetch) as Box<dyn Fetch>, Arc::new(settle) as Arc<dyn Settle>))
        })
    }

    fn health(&self) -> Health {
        if self.bug == Bug::IsAlwaysHealthy { Health::Up } else { self.inner.health() }
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        if self.bug == Bug::HangsOnClose { Box::pin(std::future::pending()) } else { self.inner.close() }
    }
}
