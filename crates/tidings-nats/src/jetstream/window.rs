//! Acknowledgements that are outstanding: one inbox of our own, a number each, and no more at once than the window has.
//!
//! The client's own futures are dearer: each holds a channel, and one that is dropped keeps its place until it times out.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use async_nats::{Message, StatusCode, Subject};
use foldhash::fast::RandomState;
use serde::Deserialize;
use tidings_core::PublishError;
use tokio::sync::{Notify, Semaphore};

use super::api::{Said, code};

pub(super) struct Window {
    room: Semaphore,
    /// Whose the number is.
    waiting: Mutex<HashMap<u64, Arc<Flight>, RandomState>>,
    next: AtomicU64,
    inbox: String,
    duplicates: AtomicU64,
}

/// The messages of one batch that are on their way.
struct Flight {
    /// The number of the batch's first message.
    first: u64,
    outstanding: AtomicUsize,
    refused: Mutex<Vec<(usize, Refusal)>>,
    landed: Notify,
}

/// Why the server did not take a message.
#[derive(Debug)]
pub(super) enum Refusal {
    /// No stream has its subject.
    NoStream,
    Error(PublishError),
}

#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    duplicate: bool,
    error: Option<Said>,
}

impl Window {
    /// A window whose acknowledgements arrive under `inbox`, a dot and a number.
    pub(super) fn new(inbox: String, size: usize) -> Self {
        Self {
            room: Semaphore::new(size),
            waiting: Mutex::default(),
            next: AtomicU64::new(0),
            inbox,
            duplicates: AtomicU64::new(0),
        }
    }

    /// Begins a batch of so many messages.
    pub(super) fn begin(&self, count: usize) -> Batch<'_> {
        let first = self.next.fetch_add(count as u64, Ordering::Relaxed);
        let flight = Flight { first, outstanding: AtomicUsize::new(0), refused: Mutex::default(), landed: Notify::new() };
        Batch { window: self, count, flight: Arc::new(flight) }
    }

    /// Takes what came to the inbox.
    pub(super) fn take(&self, message: &Message) {
        let number = message.subject.rsplit('.').next().and_then(|number| number.parse().ok());
        let Some((number, flight)) = number.and_then(|number| Some((number, self.remove(number)?))) else { return };
        match self.outcome(message) {
            Ok(()) => {}
            Err(refusal) => lock(&flight.refused).push((flight.place(number), refusal)),
        }
        if flight.outstanding.fetch_sub(1, Ordering::AcqRel) == 1 {
            flight.landed.notify_one();
        }
    }

    /// How often the server had a message already.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates.load(Ordering::Relaxed)
    }

    fn outcome(&self, message: &Message) -> Result<(), Refusal> {
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(Refusal::NoStream);
        }
        let unreadable = |error: serde_json::Error| Refusal::Error(PublishError::Unavailable(error.into()));
        let acknowledgement: Acknowledgement = serde_json::from_slice(&message.payload).map_err(unreadable)?;
        match acknowledgement.error {
            None => {
                self.duplicates.fetch_add(acknowledgement.duplicate.into(), Ordering::Relaxed);
                Ok(())
            }
            // Whatever else the server has against a message may pass; one refused for good would never be sent again.
            Some(said) if said.err_code == code::MESSAGE_TOO_LARGE => {
                Err(Refusal::Error(PublishError::Refused(format!("{}: the stream's `max_msg_size`", said.description))))
            }
            Some(said) if said.err_code == code::STREAM_FULL => Err(Refusal::Error(PublishError::Unavailable(
                format!("the stream is full ({}): raise `max_bytes`, or lower `max_age`", said.description).into(),
            ))),
            Some(said) => Err(Refusal::Error(PublishError::Unavailable(said.description.into()))),
        }
    }

    /// Takes a number out, and gives its room back.
    fn remove(&self, number: u64) -> Option<Arc<Flight>> {
        let flight = lock(&self.waiting).remove(&number)?;
        self.room.add_permits(1);
        Some(flight)
    }
}

impl Flight {
    fn place(&self, number: u64) -> usize {
        usize::try_from(number - self.first).unwrap_or(usize::MAX)
    }
}

/// A batch in the window. Dropped, it gives its room back: whatever comes for it then is passed over.
pub(super) struct Batch<'a> {
    window: &'a Window,
    count: usize,
    flight: Arc<Flight>,
}

impl Batch<'_> {
    /// Waits for room for the message in this place of the batch; where its acknowledgement is to go.
    pub(super) async fn admit(&self, place: usize) -> Subject {
        // It is never closed.
        if let Ok(permit) = self.window.room.acquire().await {
            permit.forget();
        }
        let number = self.flight.first + place as u64;
        self.flight.outstanding.fetch_add(1, Ordering::AcqRel);
        lock(&self.window.waiting).insert(number, Arc::clone(&self.flight));
        format!("{}.{number}", self.window.inbox).into()
    }

    /// Waits until all that were admitted are answered.
    pub(super) async fn landed(&self) {
        while self.flight.outstanding.load(Ordering::Acquire) > 0 {
            self.flight.landed.notified().await;
        }
    }

    /// Ends the batch: what was refused, and what was not answered.
    pub(super) fn end(self) -> (Vec<(usize, Refusal)>, Vec<usize>) {
        let unanswered = self.withdraw();
        (std::mem::take(&mut *lock(&self.flight.refused)), unanswered)
    }

    fn withdraw(&self) -> Vec<usize> {
        let places = 0..self.count;
        if self.flight.outstanding.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        places.filter(|&place| self.window.remove(self.flight.first + place as u64).is_some()).collect()
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.withdraw();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::FutureExt;

    use super::*;

    fn answer(subject: &Subject, payload: &'static str) -> Message {
        Message {
            subject: subject.clone(),
            reply: None,
            payload: Bytes::from_static(payload.as_bytes()),
            headers: None,
            status: payload.is_empty().then_some(StatusCode::NO_RESPONDERS),
            description: None,
            length: 0,
        }
    }

    #[tokio::test]
    async fn each_message_gets_its_own_answer() {
        let window = Window::new("inbox".to_owned(), 10);
        window.begin(3).end();
        let batch = window.begin(4);
        let mut replies = Vec::new();
        for place in 0..4 {
            replies.push(batch.admit(place).await);
        }
        assert_eq!(replies[0].as_str(), "inbox.3");
        window.take(&answer(&replies[3], ""));
        window.take(&answer(&replies[0], r#"{"stream":"S","seq":1,"duplicate":true}"#));
        window.take(&answer(&replies[1], r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes exceeded"}}"#));
        assert!(batch.landed().now_or_never().is_none());
        window.take(&answer(&replies[2], r#"{"stream":"S","seq":2}"#));
        window.take(&answer(&replies[2], r#"{"stream":"S","seq":2}"#));
        batch.landed().now_or_never().unwrap();
        let (mut refused, unanswered) = batch.end();
        refused.sort_by_key(|(place, _)| *place);
        assert!(matches!(refused[0], (1, Refusal::Error(PublishError::Unavailable(_)))), "{refused:?}");
        assert!(matches!(refused[1], (3, Refusal::NoStream)) && refused.len() == 2, "{refused:?}");
        assert!(unanswered.is_empty());
        assert_eq!((window.duplicates(), window.room.available_permits()), (1, 10));
    }

    #[tokio::test]
    async fn a_dropped_batch_gives_its_room_back() {
        let window = Window::new("inbox".to_owned(), 2);
        let batch = window.begin(3);
        let first = batch.admit(0).await;
        batch.admit(1).await;
        assert!(batch.admit(2).now_or_never().is_none());
        window.take(&answer(&first, r#"{"stream":"S","seq":1}"#));
        let (refused, unanswered) = batch.end();
        assert!(refused.is_empty());
        assert_eq!((unanswered, window.room.available_permits()), (vec![1], 2));
    }
}
