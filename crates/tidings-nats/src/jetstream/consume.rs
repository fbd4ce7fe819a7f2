//! The fetching half of a subscription on JetStream: asks ahead, keeps order over broken connections, hands back at the end.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{Message, StatusCode, Subject, Subscriber};
use futures_util::{FutureExt, StreamExt};
use tidings_core::{BoxFuture, BrokerError, Delivery, Fetch, Fetched, Link, MessageId, Receipt, Settle, Source, Subscription};
use tokio::{
    task::unconstrained,
    time::{Instant, sleep_until, timeout},
};

use super::{
    consumer::{Consumer, OURS},
    gate::{Gate, Next, Shut},
    held::{Place, Word, ack, nak_now},
    pulls::{EXPIRES, LARGEST, Pulls},
    settle::{Hand, closed},
    stream::Streams,
};
use crate::{
    connect::{ANSWER, Connection, News},
    incoming::Reader,
    settings::Wire,
};

/// A close takes no longer.
const LEAVE: Duration = Duration::from_millis(4_500);
/// The most that one request brings, and that may wait here when another is made: a count alone would bound nothing where large
/// messages follow small ones.
const BYTES: usize = 32 * 1024 * 1024;
/// How nats-server says that a request ended because the next message is more than what is left of its bytes.
const OVER_BYTES: &str = "Message Size Exceeds MaxBytes";
/// What waits here unseen for so long goes back, for others to take.
const UNSEEN: Duration = Duration::from_secs(3);

/// Subscribes; from then on the server keeps what is published.
pub(super) async fn subscribe(
    streams: &Arc<Streams>,
    wire: Wire,
    subscription: &Subscription,
    expired: &AtomicU64,
) -> Result<(Box<dyn Fetch>, Arc<dyn Settle>), BrokerError> {
    let connection = Arc::clone(&streams.api.connection);
    let link = connection.link();
    let (consumer, info) = Consumer::open(Arc::clone(streams), subscription).await?;
    expired.fetch_add(consumer.expired(&info).await, Ordering::Relaxed);
    let inbox = Subject::from(connection.client.new_inbox());
    let subscriber = connection.client.subscribe(inbox.clone()).await.map_err(|error| connection.unavailable(error))?;
    let hand = Arc::new(Hand::new(Arc::clone(&connection), subscription.unsettled.max(1)));
    let now = Instant::now();
    let source = Source::new(&format!("/jetstream/{}", consumer.stream))?;
    let fetch = PullFetch {
        gate: Gate::at_start(info.num_ack_pending, now),
        pulls: Pulls::new(now),
        reader: Reader::new(subscription.pattern.clone(), wire, source),
        buffer: VecDeque::new(),
        words: VecDeque::new(),
        ready: VecDeque::new(),
        polled: now,
        gone: false,
        news: connection.news(),
        hand: Arc::clone(&hand),
        consumer,
        inbox,
        subscriber,
        connection,
        link,
    };
    Ok((Box::new(fetch), hand))
}

struct PullFetch {
    connection: Arc<Connection>,
    news: News,
    /// The connection that the requests went over.
    link: Link,
    consumer: Consumer,
    inbox: Subject,
    subscriber: Subscriber,
    reader: Reader,
    pulls: Pulls,
    gate: Gate,
    hand: Arc<Hand>,
    /// Arrived and not fetched yet.
    buffer: VecDeque<Arrival>,
    /// To be told to the server.
    words: VecDeque<Word>,
    /// In hand already, and not fetched yet, since the framework had to hear something else first.
    ready: VecDeque<Delivery>,
    /// When all had been taken in that had arrived.
    polled: Instant,
    /// The server knows nothing of the consumer.
    gone: bool,
}

/// A message, and until when it is ours.
struct Arrival {
    message: Message,
    reply: Subject,
    place: Place,
    until: Instant,
}

impl PullFetch {
    async fn next(&mut self, max: usize) -> Result<Fetched, BrokerError> {
        loop {
            if self.connection.is_closed() {
                return Err(closed());
            }
            self.follow_link();
            self.receive()?;
            self.give_back(max);
            self.tell().await;
            let (asked, max) = (max > 0, max.min(self.hand.room() + self.ready.len()));
            self.gone |= self.pulls.fell_silent(Instant::now());
            if self.gone {
                self.consumer.revive().await?;
                self.gone = false;
            }
            if max > 0 && self.connection.is_up() {
                match &self.gate {
                    Gate::Open => self.ask_ahead(max).await,
                    Gate::Shut(_) => self.ask_for_older().await,
                }
            }
            let lost = if self.gate.is_open() { self.take(max) } else { Vec::new() };
            if !lost.is_empty() {
                return Ok(Fetched::Lost(lost));
            }
            let count = max.min(self.ready.len());
            if count > 0 {
                return Ok(Fetched::Deliveries(self.ready.drain(..count).collect()));
            }
            self.wait(max, asked).await;
        }
    }

    /// Another connection: what was asked for over the last one is void.
    fn follow_link(&mut self) {
        let link = self.connection.link();
        if link != self.link {
            self.link = link;
            self.pulls.lost();
            let now = Instant::now();
            self.gate = Gate::after_break(self.news.broke().unwrap_or(now), now);
        }
    }

    /// Takes in what has arrived.
    fn receive(&mut self) -> Result<(), BrokerError> {
        let now = Instant::now();
        // All of it, without tokio's budget: what stayed behind would pass for what came after this look.
        while let Some(next) = unconstrained(self.subscriber.next()).now_or_never() {
            self.arrived(next.ok_or_else(closed)?);
        }
        self.polled = now;
        Ok(())
    }

    /// Takes in what arrived after the last look: its lease runs from then at the earliest.
    fn arrived(&mut self, message: Message) {
        if let Some(status) = message.status {
            return self.told(status, &message);
        }
        self.pulls.arrived();
        let Some(reply) = message.reply.clone() else { return };
        let Some(place) = Place::of(&reply) else { return };
        self.buffer.push_back(Arrival { message, reply, place, until: self.polled + OURS });
        if place.deliveries == 1 && !self.gate.is_open() {
            self.gate.newer_came(Instant::now());
            if self.gate.is_open() {
                self.open_gate();
            }
        }
    }

    /// The server says that a request ended, or why it took none.
    fn told(&mut self, status: StatusCode, message: &Message) {
        let missing = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        let missing = missing.and_then(|missing| missing.as_str().parse().ok());
        match status {
            StatusCode::TIMEOUT | StatusCode::NOT_FOUND => self.pulls.ended(missing),
            // The next message is more than what is left of the bytes that were asked for.
            _ if message.description.as_deref() == Some(OVER_BYTES) => self.pulls.ended(missing),
            StatusCode::IDLE_HEARTBEAT => {}
            _ => {
                tracing::debug!(%status, description = message.description, "the server ended a request for messages");
                self.pulls.refused(Instant::now());
                // Deleted, or not led by anybody for the moment.
                self.gone = true;
            }
        }
    }

    /// What waited here unseen for long goes back, unless it would come straight to us again; so does what the framework
    /// handed back, now that it fetches on.
    fn give_back(&mut self, max: usize) {
        let now = Instant::now();
        while self.buffer.front().is_some_and(|arrival| arrival.until <= now) {
            self.buffer.pop_front();
        }
        let old = self.buffer.front().is_some_and(|arrival| arrival.until <= now + (OURS - UNSEEN));
        if old && self.pulls.outstanding(now).is_none() {
            self.words.extend(self.buffer.drain(..).map(|arrival| nak_now(arrival.reply)));
        }
        if max > 0 {
            self.words.extend(self.hand.held.take_handed_back(now));
        }
    }

    async fn tell(&mut self) {
        while self.connection.is_up()
            && let Some((reply, word)) = self.words.front().cloned()
        {
            // When it breaks, all that was on its way comes again.
            let told = self.connection.unless_broken(self.connection.client.publish(reply, word)).await;
            if !matches!(told, Some(Ok(()))) {
                return;
            }
            self.words.pop_front();
        }
    }

    /// Looks whether what was on its way to others, or to us before, has come again, and asks for it.
    async fn ask_for_older(&mut self) {
        let now = Instant::now();
        let due = |shut: &Shut| now >= shut.look || self.pulls.outstanding(now).is_none();
        if !matches!(&self.gate, Gate::Shut(shut) if due(shut)) {
            return;
        }
        let Ok(info) = self.consumer.info().await else { return };
        let missing = info.num_ack_pending.saturating_sub(self.hand.held.len() + self.buffer.len());
        let now = Instant::now();
        let asked = self.pulls.outstanding(now).is_some();
        let Gate::Shut(shut) = &mut self.gate else { return };
        match shut.next(missing, asked, now) {
            Next::Open => self.open_gate(),
            Next::Ask(count) => self.ask(count.min(LARGEST), now).await,
            Next::Wait => {}
        }
    }

    fn open_gate(&mut self) {
        self.gate = Gate::Open;
        // Leases end in an order of their own.
        self.buffer.make_contiguous().sort_by_key(|arrival| arrival.place.stream);
    }

    async fn ask_ahead(&mut self, max: usize) {
        let now = Instant::now();
        if let Some(count) = self.pulls.want(max, self.buffer.len(), self.hand.held.settled(), now)
            && self.buffer.iter().map(|arrival| arrival.message.length).sum::<usize>() < BYTES
        {
            self.ask(count, now).await;
        }
    }

    async fn ask(&mut self, count: usize, now: Instant) {
        // A message that is larger than what is asked for would never come.
        let bytes = BYTES.max(2 * self.connection.client.max_payload());
        let question = format!(r#"{{"batch":{count},"max_bytes":{bytes},"expires":{}}}"#, EXPIRES.as_nanos());
        let subject = Subject::from(self.consumer.next_subject());
        if self.connection.client.publish_with_reply(subject, self.inbox.clone(), question.into()).await.is_ok() {
            self.pulls.asked_for(count, now);
        }
    }

    /// Makes up to `max` deliveries of what is here; answers older ones of the same messages, which are lost.
    fn take(&mut self, max: usize) -> Vec<Receipt> {
        let first = self.ready.len();
        let mut held = Vec::with_capacity(max.saturating_sub(first).min(self.buffer.len()));
        while self.ready.len() < max
            && let Some(arrival) = self.buffer.pop_front()
        {
            let Some(topic) = self.reader.topic(&arrival.message.subject) else {
                // Not of this pattern: the server could not sift it.
                self.words.push_back(ack(arrival.reply));
                continue;
            };
            let Message { headers, payload, .. } = arrival.message;
            let id = || id_of_place(&self.consumer.stream, arrival.place.stream);
            let message = self.reader.message(topic, headers.as_ref(), payload, id);
            let (receipt, deliveries) = (arrival.place.receipt(), Some(arrival.place.deliveries));
            self.ready.push_back(Delivery { message, receipt, attempts: 0, deliveries });
            held.push((arrival.place, arrival.reply, arrival.until));
        }
        let Some((last, ..)) = held.last() else { return Vec::new() };
        self.consumer.saw(last.stream);
        let (attempts, lost) = self.hand.held.take(held.into_iter());
        for (delivery, attempts) in self.ready.iter_mut().skip(first).zip(attempts) {
            delivery.attempts = attempts;
        }
        lost
    }

    /// Waits until there may be something to do: something that came or, when somebody `asked`, room for it.
    async fn wait(&mut self, max: usize, asked: bool) {
        let now = Instant::now();
        let mut wake = now + EXPIRES;
        if max > 0 && self.connection.is_up() {
            if let Gate::Shut(shut) = &self.gate {
                wake = wake.min(shut.look);
            } else if let Some(next) = self.pulls.next(now) {
                wake = wake.min(next);
            }
        }
        tokio::select! {
            biased;
            message = self.subscriber.next() => {
                if let Some(message) = message {
                    self.arrived(message);
                }
            }
            () = self.hand.has_room(), if asked => {}
            () = self.news.changed() => {}
            () = sleep_until(wake) => {}
        }
    }

    /// Gives everything back that is not settled. Requests end first: one that is abandoned takes messages with it for a
    /// whole lease, and while one is open what goes back comes straight here again.
    async fn leave(mut self) -> Result<(), BrokerError> {
        let link = self.connection.link();
        while let Some(until) = self.pulls.outstanding(Instant::now()) {
            self.connection.ready()?;
            tokio::select! {
                message = self.subscriber.next() => self.arrived(message.ok_or_else(closed)?),
                () = sleep_until(until) => {}
                () = self.news.changed() => {
                    if self.connection.link() != link {
                        self.pulls.lost();
                    }
                }
            }
        }
        self.receive()?;
        let now = Instant::now();
        let unseen = self.buffer.drain(..).filter(|arrival| arrival.until > now);
        self.words.extend(self.hand.held.take_all(unseen.map(|arrival| (arrival.place, arrival.reply)), now));
        self.tell().await;
        self.consumer.end().await?;
        self.connection.round_trip(ANSWER).await
    }
}

impl Fetch for PullFetch {
    fn fetch(&mut self, max: usize) -> BoxFuture<'_, Result<Fetched, BrokerError>> {
        Box::pin(self.next(max))
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, Result<(), BrokerError>> {
        Box::pin(async move {
            let connection = Arc::clone(&self.connection);
            let late = |_| Err(connection.unavailable("it did not end in order in time"));
            timeout(LEAVE, self.leave()).await.unwrap_or_else(late)
        })
    }
}

/// The id of a message that has none: its place, so that it is recognised when it comes again.
fn id_of_place(stream: &str, sequence: u64) -> MessageId {
    MessageId::new(&format!("{stream}:{sequence}")).unwrap_or_else(|_| MessageId::generate())
}
