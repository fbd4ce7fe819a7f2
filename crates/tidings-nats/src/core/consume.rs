//! The fetching half of a subscription on NATS core.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use async_nats::Subject;
use futures_util::StreamExt;
use tidings_core::{BoxFuture, BrokerError, Delivery, Fetch, Fetched, Members, MessageId, Receipt, Settle, Subscription};
use tokio::{
    task::unconstrained,
    time::{Instant, sleep_until},
};
use uuid::{Builder, Uuid, Variant, Version};

use super::{
    Core,
    hand::Hand,
    waiting::{TURN, Waiting},
};
use crate::{
    connect::{ANSWER, Connection, News},
    incoming::Reader,
    names,
};

/// Subscribes, and comes back when the server knows of it.
pub(super) async fn subscribe(
    core: &Core,
    subscription: &Subscription,
) -> Result<(Box<dyn Fetch>, Arc<dyn Settle>), BrokerError> {
    let connection = &core.connection;
    connection.ready()?;
    let subject = Subject::from(subscription.pattern.as_str());
    let subscriber = match subscription.members {
        Members::Share => {
            let queue = names::queue(&subscription.group, &subscription.pattern);
            connection.client.queue_subscribe(subject, queue).await
        }
        Members::Each => connection.client.subscribe(subject).await,
    };
    let subscriber = subscriber.map_err(|error| connection.unavailable(error))?;
    connection.round_trip(ANSWER).await?;
    let hand = Arc::new(Hand::default());
    let fetch = CoreFetch {
        inbound: Inbound {
            waiting: Waiting::new(Arc::clone(connection), subscriber, core.buffer),
            reader: Reader::new(subscription.pattern.clone(), core.wire, core.source.clone()),
            ids: Ids::new(),
            received: Vec::new(),
        },
        hand: Arc::clone(&hand),
        news: connection.news(),
        connection: Arc::clone(connection),
        unsettled: subscription.unsettled.max(1),
        abandoned: Arc::clone(&core.abandoned),
        label: format!("{} in group {}", subscription.pattern, subscription.group),
    };
    Ok((Box::new(fetch), hand))
}

struct CoreFetch {
    inbound: Inbound,
    hand: Arc<Hand>,
    news: News,
    connection: Arc<Connection>,
    unsettled: usize,
    abandoned: Arc<AtomicU64>,
    label: String,
}

impl CoreFetch {
    async fn next(&mut self, max: usize) -> Result<Fetched, BrokerError> {
        loop {
            if self.connection.is_closed() {
                return Err(closed());
            }
            let look = self.hand.look(max);
            if !look.again.is_empty() {
                return Ok(Fetched::Deliveries(look.again));
            }
            let room = max.min(self.unsettled.saturating_sub(look.unsettled));
            let open = tokio::select! {
                biased;
                open = self.inbound.receive(room) => open,
                () = self.hand.changed() => true,
                () = until(look.next), if max > 0 => true,
                () = self.news.changed() => true,
            };
            if !open {
                return Err(closed());
            }
            if !self.inbound.received.is_empty() {
                let mut received = std::mem::take(&mut self.inbound.received);
                self.hand.admit(&mut received);
                return Ok(Fetched::Deliveries(received));
            }
        }
    }

    /// Nothing can go back to a server that forgot it: what is left is counted, and gone.
    async fn leave(self) -> Result<(), BrokerError> {
        let (mut subscriber, waited) = self.inbound.waiting.end();
        let arrived = match subscriber.unsubscribe().await {
            Ok(()) => self.connection.round_trip(ANSWER).await,
            Err(_) => Err(closed()),
        };
        let mut gone = self.hand.leave() + waited;
        while subscriber.next().await.is_some() {
            gone += 1;
        }
        if gone > 0 {
            self.abandoned.fetch_add(gone as u64, Ordering::Relaxed);
            tracing::warn!(messages = gone, subscription = self.label, "not handled and gone: NATS core keeps nothing");
        }
        arrived
    }
}

impl Fetch for CoreFetch {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(self.next(max))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(self.leave())
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn closed() -> BrokerError {
    BrokerError::Closed { broker: "nats" }
}

/// What comes in.
struct Inbound {
    waiting: Waiting,
    reader: Reader,
    ids: Ids,
    /// Read, and not yet in anybody's hand: empty between two fetches.
    received: Vec<Delivery>,
}

impl Inbound {
    /// Receives what is there, up to `room`, and for ever nothing without any; `false` when the subscription has ended.
    async fn receive(&mut self, room: usize) -> bool {
        // The client's task reads megabytes in its turn; one of the usual length would take 128 messages.
        unconstrained(poll_fn(|cx| self.poll(cx, room))).await
    }

    fn poll(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<bool> {
        let Self { waiting, reader, ids, received } = self;
        let mut looks = 0;
        while received.len() < room {
            looks += 1;
            if looks > TURN {
                // Of much that is nobody's; or there was room for very much.
                cx.waker().wake_by_ref();
                return if received.is_empty() { Poll::Pending } else { Poll::Ready(true) };
            }
            match waiting.poll_next(cx) {
                Poll::Ready(Some(raw)) => {
                    if let Some(topic) = reader.topic(&raw.subject) {
                        let message = reader.message(topic, raw.headers.as_ref(), raw.payload, || ids.next());
                        received.push(Delivery { message, receipt: Receipt([0; 3]), attempts: 0, deliveries: None });
                    }
                }
                Poll::Ready(None) if received.is_empty() => return Poll::Ready(false),
                Poll::Pending if received.is_empty() => return Poll::Pending,
                Poll::Ready(None) | Poll::Pending => return Poll::Ready(true),
            }
        }
        if room == 0 || waiting.may_be_much() {
            waiting.take_in(cx);
        }
        if room > 0 { Poll::Ready(true) } else { Poll::Pending }
    }
}

/// Ids for messages that have none: half by chance and half counted, which costs nothing a message.
struct Ids {
    chance: u64,
    count: u64,
}

impl Ids {
    fn new() -> Self {
        Self { chance: Uuid::new_v4().as_u64_pair().0, count: 0 }
    }

    fn next(&mut self) -> MessageId {
        self.count += 1;
        let bytes = Uuid::from_u64_pair(self.chance, self.count).into_bytes();
        Builder::from_bytes(bytes).with_variant(Variant::RFC4122).with_version(Version::Custom).into_uuid().into()
    }
}
