//! Taking messages: who gets a copy, who is too large, who has to wait.

use std::time::SystemTime;

use slab::Slab;
use tidings_core::{BoxError, Message, PublishError};
use tokio::time::Instant;

use crate::{
    NAME,
    broker::capabilities,
    hub::{Hub, Line, State},
    letters::Letters,
    routes::Route,
};

/// How far a batch has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) next: usize,
    pub(crate) failed: Vec<(usize, PublishError)>,
}

enum Taken {
    Yes,
    No(PublishError),
    /// When there is room.
    Later,
}

impl Hub {
    /// Takes messages, from where the batch stands, until one has to wait for room.
    pub(crate) fn publish(&self, batch: &[Message], progress: &mut Progress) {
        let mut state = self.lock();
        state.release();
        while let Some(message) = batch.get(progress.next) {
            let taken = match &self.bare {
                Some(source) => self.take_one(&mut state, &message.bare(source)),
                None => self.take_one(&mut state, message),
            };
            match taken {
                Taken::Yes => {}
                Taken::No(why) => progress.failed.push((progress.next, why)),
                Taken::Later => {
                    state.crowded = true;
                    return;
                }
            }
            progress.next += 1;
        }
    }

    fn take_one(&self, state: &mut State, message: &Message) -> Taken {
        let settings = &self.settings;
        let size = message.size();
        let limit = if message.topic().is_reserved() { settings.max_message } else { settings.largest_event() };
        if size > limit {
            return Taken::No(PublishError::TooLarge { topic: message.topic().to_string(), size, limit });
        }
        let State { lines, routes, recent, letters, duplicates, .. } = state;
        let route = match routes.of(message.topic(), lines) {
            Ok(route) => route,
            Err(invalid) => return Taken::No(invalid.into()),
        };
        let fingerprint = recent.fingerprint(message);
        if !recent.insert(fingerprint) {
            *duplicates += 1;
            return Taken::Yes;
        }
        if let Some(due) = message.due() {
            let taken = self.take_for_later(state, message, size, due);
            if !matches!(taken, Taken::Yes) {
                state.recent.remove(fingerprint);
            }
            return taken;
        }
        for line in route.lines.iter().filter_map(|place| lines.get(*place)) {
            if line.queue.is_full(size, settings.max_messages, settings.max_bytes) {
                recent.remove(fingerprint);
                if line.queue.has_members() {
                    return Taken::Later;
                }
                return Taken::No(PublishError::Unavailable(full(&line.group, &line.pattern)));
            }
        }
        give(route, lines, letters, message, size);
        Taken::Yes
    }

    fn take_for_later(&self, state: &mut State, message: &Message, size: usize, due: SystemTime) -> Taken {
        if let Err(refused) = capabilities(&self.settings).check_due(NAME, message) {
            return Taken::No(refused);
        }
        if state.later.is_full(size, &self.settings) {
            return Taken::No(PublishError::Unavailable(
                "too much is held back until it is due; raise max_messages or max_bytes".into(),
            ));
        }
        // From here on by a clock that nobody sets.
        let wait = due.duration_since(SystemTime::now()).unwrap_or_default();
        let delivered = message.clone().into_builder().due(None).build();
        if state.later.put(delivered, size, Instant::now() + wait) {
            // Whoever waits for something else is to look again by then.
            state.lines.iter().for_each(|(_, line)| line.announce_to_all());
        }
        Taken::Yes
    }
}

impl State {
    /// Publishes what is due. A subscription that is full takes it too: there is nobody who could wait for room.
    pub(crate) fn release(&mut self) {
        if self.later.next().is_none() {
            return;
        }
        let now = Instant::now();
        let Self { lines, routes, letters, later, .. } = self;
        while let Some((message, size)) = later.take_due(now) {
            // Its topic was looked at when it came.
            if let Ok(route) = routes.of(message.topic(), lines) {
                give(route, lines, letters, &message, size);
            }
        }
    }
}

/// Puts a message into all subscriptions that it goes to.
fn give(route: &Route, lines: &mut Slab<Line>, letters: &mut Letters, message: &Message, size: usize) {
    for place in &route.lines {
        if let Some(line) = lines.get_mut(*place) {
            line.queue.push(message, size);
            line.announce();
        }
    }
    if route.is_letter {
        letters.push(message.clone());
    }
}

fn full(group: &impl std::fmt::Display, pattern: &impl std::fmt::Display) -> BoxError {
    format!("the backlog of group {group} on {pattern} is full and the group has no member here; raise max_messages or max_bytes")
        .into()
}
