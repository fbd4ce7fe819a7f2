//! What happened to the messages of a test.

use std::{
    any::type_name,
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tidings::{
    __private::{Attempt as Ended, Clock, Ended as How, Watch},
    Event, Message,
};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::NotSeen;

/// How long nothing has happened, by the machine's clock, before the service's goes to the next attempt.
const QUIET: Duration = Duration::from_millis(2);

/// An attempt that ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The message.
    pub message: Message,
    /// Whose attempt it was.
    pub group: String,
    /// Which one; the first is 1.
    pub number: u32,
    /// When it ended, by the service's clock, since the service started.
    pub at: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The handler succeeded.
    Handled,
    /// It failed, and another attempt follows.
    Failed {
        /// The error and its causes, in one line.
        error: String,
        /// How long after.
        wait: Duration,
    },
    /// It failed, and the message is given up.
    GivenUp {
        /// The error and its causes, in one line.
        error: String,
    },
}

/// Whether a message is such an event.
pub(super) fn is<E: Event>(message: &Message) -> bool {
    message.topic().as_str() == E::TOPIC && has_type_of::<E>(message)
}

/// By its type, or it says none.
fn has_type_of<E: Event>(message: &Message) -> bool {
    let said = message.event_type().as_str();
    said == E::TYPE || E::TYPES.contains(&said) || said == E::TOPIC
}

/// All attempts that ended, and how far a test has asked for them.
#[derive(Debug)]
pub(super) struct Seen {
    begun: Instant,
    attempts: watch::Sender<Vec<Attempt>>,
    /// By type of event: how many handled events and how many dead letters were answered.
    answered: Mutex<HashMap<&'static str, Answered>>,
}

#[derive(Debug, Default)]
struct Answered {
    handled: usize,
    letters: usize,
}

impl Watch for Seen {
    fn ended(&self, ended: &Ended<'_>) {
        let attempt = Attempt {
            message: ended.message.clone(),
            group: ended.group.to_string(),
            number: ended.number,
            at: ended.at.saturating_duration_since(self.begun),
            outcome: match ended.ended {
                How::Handled => Outcome::Handled,
                How::Failed { error, wait } => Outcome::Failed { error: error.to_owned(), wait },
                How::GivenUp { error } => Outcome::GivenUp { error: error.to_owned() },
            },
        };
        self.attempts.send_modify(|attempts| attempts.push(attempt));
    }
}

impl Seen {
    pub(super) fn new(begun: Instant) -> Self {
        Self { begun, attempts: watch::Sender::default(), answered: Mutex::default() }
    }

    /// Dead letters are stored, which is a little after their last attempts ended.
    pub(super) fn look_again(&self) {
        self.attempts.send_modify(|_| {});
    }

    pub(super) fn attempts<E: Event>(&self) -> Vec<Attempt> {
        self.attempts.borrow().iter().filter(|attempt| is::<E>(&attempt.message)).cloned().collect()
    }

    fn of_topic(&self, topic: &str) -> Vec<Attempt> {
        let of_topic = |attempt: &&Attempt| attempt.message.topic().as_str() == topic;
        self.attempts.borrow().iter().filter(of_topic).cloned().collect()
    }

    fn answered(&self) -> MutexGuard<'_, HashMap<&'static str, Answered>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next handled message of such an event.
    pub(super) async fn handled<E: Event>(&self, clock: &Clock, patience: Duration) -> Result<Message, NotSeen> {
        self.next(E::TOPIC, "handled", clock, patience, || {
            let mut answered = self.answered();
            let answered = &mut answered.entry(type_name::<E>()).or_default().handled;
            let attempts = self.attempts.borrow();
            let handled = |attempt: &&Attempt| attempt.outcome == Outcome::Handled && is::<E>(&attempt.message);
            let message = attempts.iter().filter(handled).nth(*answered)?.message.clone();
            *answered += 1;
            Some(message)
        })
        .await
    }

    /// The next dead letter of such an event; `letters` are those that are stored.
    pub(super) async fn letter<E: Event>(
        &self,
        clock: &Clock,
        patience: Duration,
        letters: impl Fn() -> Vec<Message>,
    ) -> Result<Message, NotSeen> {
        let such = |letter: &Message| {
            // `dead.<group>.<topic>`, and a group has no dots.
            letter.topic().as_str().splitn(3, '.').nth(2) == Some(E::TOPIC) && has_type_of::<E>(letter)
        };
        self.next(E::TOPIC, "given up", clock, patience, || {
            let mut answered = self.answered();
            let answered = &mut answered.entry(type_name::<E>()).or_default().letters;
            let letter = letters().into_iter().filter(such).nth(*answered)?;
            *answered += 1;
            Some(letter)
        })
        .await
    }

    async fn next<T>(
        &self,
        topic: &'static str,
        what: &'static str,
        clock: &Clock,
        patience: Duration,
        mut find: impl FnMut() -> Option<T>,
    ) -> Result<T, NotSeen> {
        let mut news = self.attempts.subscribe();
        let found = async {
            loop {
                if let Some(found) = find() {
                    return found;
                }
                if timeout(QUIET, news.changed()).await.is_err() {
                    clock.skip_to_next_attempt();
                }
            }
        };
        let found = timeout(patience, found).await;
        found.map_err(|_| NotSeen::InTime { topic, what, patience, attempts: self.of_topic(topic) })
    }
}
