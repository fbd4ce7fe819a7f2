//! Taking messages: who gets a copy, who is too large, who has to wait.

use tidings_core::{BoxError, Message, PublishError};

use crate::hub::{Hub, State};

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
        let State { lines, routes, recent, letters, duplicates, .. } = state;
        let settings = &self.settings;
        let size = message.size();
        let limit = if message.topic().is_reserved() { settings.max_message } else { settings.largest_event() };
        if size > limit {
            return Taken::No(PublishError::TooLarge { topic: message.topic().to_string(), size, limit });
        }
        let route = match routes.of(message.topic(), lines) {
            Ok(route) => route,
            Err(invalid) => return Taken::No(invalid.into()),
        };
        let fingerprint = recent.fingerprint(message);
        if !recent.insert(fingerprint) {
            *duplicates += 1;
            return Taken::Yes;
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
        for place in &route.lines {
            if let Some(line) = lines.get_mut(*place) {
                line.queue.push(message, size);
                line.announce();
            }
        }
        if route.is_letter {
            letters.push(message.clone());
        }
        Taken::Yes
    }
}

fn full(group: &impl std::fmt::Display, pattern: &impl std::fmt::Display) -> BoxError {
    format!("the backlog of group {group} on {pattern} is full and the group has no member here; raise max_messages or max_bytes")
        .into()
}
