//! Storing dead letters: before the original is settled, and for as long as it takes.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::counter::Counter;
use tidings_core::{Broker, Message, PublishError};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender},
    time::sleep,
};

use super::{Event, hand::Ticket, letter};

/// A dead letter on its way.
#[derive(Debug)]
pub(super) struct Burial {
    pub(super) ticket: Ticket,
    pub(super) letter: Message,
}

const BATCH: usize = 256;
const BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(5);

/// Stores what comes until nothing comes any more.
///
/// A broker that is away is tried until it is back: the original stays in hand meanwhile. One that refuses a letter gets it
/// once more without its body; `left_out` counts those.
pub(super) async fn bury_all(
    broker: Arc<dyn Broker>,
    mut burials: UnboundedReceiver<Burial>,
    events: UnboundedSender<Event>,
    left_out: Counter,
) {
    let mut tickets: Vec<Ticket> = Vec::new();
    let mut letters: Vec<Message> = Vec::new();
    let mut come = Vec::with_capacity(BATCH);
    let mut wait = BACK_OFF;
    loop {
        let retries = !letters.is_empty();
        tokio::select! {
            count = burials.recv_many(&mut come, BATCH) => if count == 0 { return },
            () = sleep(wait), if retries => wait = (wait * 2).min(LONGEST_BACK_OFF),
        }
        for Burial { ticket, letter } in come.drain(..) {
            tickets.push(ticket);
            letters.push(letter);
        }
        let buried = bury(&*broker, &mut tickets, &mut letters, &left_out).await;
        if letters.is_empty() {
            wait = BACK_OFF;
        }
        if !buried.is_empty() && events.send(Event::Buried(buried)).is_err() {
            return;
        }
    }
}

/// Publishes the letters; answers the tickets of those that are stored, and leaves the others to be published again.
async fn bury(broker: &dyn Broker, tickets: &mut Vec<Ticket>, letters: &mut Vec<Message>, left_out: &Counter) -> Vec<Ticket> {
    let failed = match broker.publish(letters).await {
        Ok(()) => Vec::new(),
        Err(failures) => failures.into_failed(),
    };
    let mut kept = (Vec::new(), Vec::new());
    for (place, error) in failed.into_iter().rev() {
        if place < letters.len() {
            let letter = letters.swap_remove(place);
            kept.1.push(after_failure(letter, &error, left_out));
            kept.0.push(tickets.swap_remove(place));
        }
    }
    letters.clear();
    std::mem::swap(letters, &mut kept.1);
    std::mem::replace(tickets, kept.0)
}

/// What is published next in place of a letter that was not taken.
fn after_failure(letter: Message, error: &PublishError, left_out: &Counter) -> Message {
    let (topic, id, why) = (letter.topic().clone(), letter.id().clone(), crate::error::chain(error));
    let trace_id = letter.trace().map(|trace| tracing::field::display(trace.trace_id()));
    if error.is_transient() {
        tracing::warn!(%topic, %id, trace_id, error = why, "dead letter could not be stored; trying again");
        letter
    } else if letter.body().is_empty() {
        // Its message stays in hand: better a key that stands still, and this line, than a message that is gone.
        tracing::error!(%topic, %id, trace_id, error = why, "dead letter was refused; trying again");
        letter
    } else {
        tracing::error!(%topic, %id, trace_id, error = why, bytes = letter.body().len(), "dead letter was refused; leaving out its body");
        left_out.inc();
        letter::without_body(&letter)
    }
}
