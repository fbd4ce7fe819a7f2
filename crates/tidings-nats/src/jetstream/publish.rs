//! Publishing on JetStream: all sent, then all acknowledged, each recognisable when it is sent again.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{client::traits::Publisher as _, message::OutboundMessage};
use futures_util::StreamExt;
use tidings_core::{BrokerError, Message, PublishError, PublishFailures};
use tokio::time::sleep;

use super::{
    settings::Settings,
    stream::{Covered, Streams, Words, first_word, jittered},
    window::{Batch, Refusal, Window},
};
use crate::{
    connect::{Connection, Task, within},
    outgoing,
    settings::Wire,
};

/// How long to wait at first, and at most, before subjects that somebody's update undid are added again.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How often a stream may list a subject and yet not take it before that subject is taken away and added again.
const LISTED_IN_VAIN: u32 = 3;

pub(super) struct Publisher {
    connection: Arc<Connection>,
    streams: Arc<Streams>,
    wire: Wire,
    timeout: Duration,
    window: Arc<Window>,
    _reader: Task,
}

impl Publisher {
    pub(super) async fn open(streams: Arc<Streams>, settings: &Settings) -> Result<Self, BrokerError> {
        let connection = Arc::clone(&streams.api.connection);
        let inbox = connection.client.new_inbox();
        let subscribed = connection.client.subscribe(format!("{inbox}.*")).await;
        let mut acknowledgements = subscribed.map_err(|error| connection.unavailable(error))?;
        let window = Arc::new(Window::new(inbox, settings.window));
        let taker = Arc::clone(&window);
        let reader = Task::spawn(async move {
            while let Some(message) = acknowledgements.next().await {
                taker.take(&message);
            }
        });
        let (wire, timeout) = (settings.wire, settings.timeout);
        Ok(Self { connection, streams, wire, timeout, window, _reader: reader })
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.window.duplicates()
    }

    pub(super) async fn publish(&self, batch: &[Message]) -> Result<(), PublishFailures> {
        if let Err(error) = self.connection.ready() {
            return Err(outgoing::refuse_all(batch, &error));
        }
        let mut failed = Vec::new();
        let known = |place: &usize| self.streams.know(batch[*place].topic().as_str());
        let homeless = if (0..batch.len()).all(|place| known(&place)) {
            self.send(batch, 0..batch.len(), &mut failed).await
        } else {
            let strangers: Vec<_> = (0..batch.len()).filter(|place| !known(place)).collect();
            let homes = self.find_homes(batch, &strangers, &mut failed, false).await;
            self.send(batch, (0..batch.len()).filter(|place| homes.is_some() || known(place)), &mut failed).await
        };
        let homeless = if homeless.is_empty() { homeless } else { self.send_homeless(batch, homeless, &mut failed).await };
        failed.extend(homeless.into_iter().map(|place| (place, PublishError::Unavailable("no stream takes it".into()))));
        failed.sort_unstable_by_key(|(place, _)| *place);
        PublishFailures::check(failed)
    }

    /// Sends those that no stream took, once more subjects are there; answers those that still none takes.
    ///
    /// Of processes that add subjects at once all but one are undone, and as many may start at once as there are. What is more,
    /// such updates can leave a server with a subject that it lists and does not listen to (2.9 does, about one time in forty
    /// of eight at once): that one has to be taken away and added again.
    async fn send_homeless(
        &self,
        batch: &[Message],
        mut homeless: Vec<usize>,
        failed: &mut Vec<(usize, PublishError)>,
    ) -> Vec<usize> {
        let deadline = Instant::now() + self.timeout;
        let (mut pause, mut listed) = (FIRST_PAUSE, 0);
        while !homeless.is_empty() && Instant::now() < deadline {
            match self.find_homes(batch, &homeless, failed, listed >= LISTED_IN_VAIN).await {
                Some(Covered::Already) => listed += 1,
                Some(Covered::Added) => listed = 0,
                None => return Vec::new(),
            }
            homeless = self.send(batch, homeless.into_iter(), failed).await;
            if !homeless.is_empty() {
                sleep(jittered(pause)).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        homeless
    }

    /// Makes the streams take the topics of these; when that fails, they have.
    async fn find_homes(
        &self,
        batch: &[Message],
        places: &[usize],
        failed: &mut Vec<(usize, PublishError)>,
        renew: bool,
    ) -> Option<Covered> {
        let mut words = Words::new();
        for &place in places {
            let topic = batch[place].topic().as_str();
            let word = first_word(topic);
            *words.entry(word).or_default() |= word.len() == topic.len();
        }
        let covered = async {
            if renew {
                self.streams.withdraw(&words).await?;
            }
            self.streams.cover(words.clone()).await
        };
        let error = match covered.await {
            Ok(covered) => return Some(covered),
            Err(error) => error,
        };
        // Whatever it is, someone can put it right, and then it goes through.
        let error = Arc::new(error);
        failed.extend(places.iter().map(|&place| (place, PublishError::Unavailable(Arc::clone(&error).into()))));
        None
    }

    /// Sends these and waits for what becomes of them; answers those that no stream took.
    async fn send(
        &self,
        batch: &[Message],
        mut places: impl Iterator<Item = usize>,
        failed: &mut Vec<(usize, PublishError)>,
    ) -> Vec<usize> {
        let flight = self.window.begin(batch.len());
        // Once a batch: it lies behind a lock.
        let max_payload = self.connection.client.max_payload();
        let mut current = None;
        let sending = async {
            for place in places.by_ref() {
                current = Some(place);
                match self.prepare(&batch[place], max_payload) {
                    Ok(message) => within(self.timeout, self.send_one(&flight, place, message)).await?,
                    Err(error) => failed.push((place, error)),
                }
                current = None;
            }
            within(self.timeout, flight.landed()).await
        };
        let done = self.connection.unless_broken(sending).await;
        let (refused, unanswered) = flight.end();
        if done.is_none_or(|done| done.is_err()) {
            // It may be that the stream does not take the topic any more, and somebody else does.
            self.streams.forget();
            let lost: BTreeSet<_> = unanswered.into_iter().chain(current).chain(places).collect();
            failed.extend(lost.into_iter().map(|place| (place, self.unanswered())));
        }
        let mut homeless = Vec::new();
        for (place, refusal) in refused {
            match refusal {
                Refusal::NoStream => homeless.push(place),
                Refusal::Error(error) => failed.push((place, error)),
            }
        }
        homeless.sort_unstable();
        homeless
    }

    fn prepare(&self, message: &Message, max_payload: usize) -> Result<OutboundMessage, PublishError> {
        outgoing::of(message, self.wire, Some(&message.dedup_id()), max_payload)
    }

    /// Fails only when the client has ended: then no acknowledgement comes, either.
    async fn send_one(&self, flight: &Batch<'_>, place: usize, message: OutboundMessage) {
        let reply = Some(flight.admit(place).await);
        let _ = self.connection.client.publish_message(OutboundMessage { reply, ..message }).await;
    }

    fn unanswered(&self) -> PublishError {
        if self.connection.is_closed() {
            PublishError::Closed
        } else if self.connection.is_up() {
            PublishError::Unavailable(format!("not acknowledged within {:?}", self.timeout).into())
        } else {
            PublishError::Unavailable("the connection was lost before the acknowledgement".into())
        }
    }
}
