//! Which messages are taken, and where they go.

use std::{collections::BTreeMap, io, path::Path};

use tidings_core::{Capabilities, Message, PublishError};

use crate::{NAME, queue::Queue, wire};

/// The largest event.
pub(crate) const LARGEST: usize = 1024 * 1024;
/// A dead letter is its event with headers of its own, and has to fit too.
const ROOM_FOR_A_LETTER: usize = 8 * 1024;

/// Writes each message into every subscription that matches; answers those that were not taken, by their places.
pub(crate) fn put(root: &Path, messages: &[Message]) -> BTreeMap<usize, PublishError> {
    let unavailable = |error: &io::Error| PublishError::Unavailable(error.to_string().into());
    let queues = match Queue::all(root) {
        Ok(queues) => queues,
        Err(error) => return (0..messages.len()).map(|place| (place, unavailable(&error))).collect(),
    };
    let mut failed = BTreeMap::new();
    let mut files = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        match check(message) {
            Ok(()) => files.push((place, message.topic(), wire::write(message))),
            Err(why) => drop(failed.insert(place, why)),
        }
    }
    for queue in queues {
        let mut matching = files.iter().filter(|(_, topic, _)| queue.pattern.matches(topic)).peekable();
        if matching.peek().is_none() {
            continue;
        }
        match queue.lock_if_there() {
            Ok(None) => {}
            Ok(Some(locked)) => {
                let put = matching.filter_map(|(place, _, file)| Some((*place, unavailable(&locked.put(file).err()?))));
                failed.extend(put);
            }
            Err(error) => failed.extend(matching.map(|(place, ..)| (*place, unavailable(&error)))),
        }
    }
    failed
}

fn check(message: &Message) -> Result<(), PublishError> {
    // Nothing is held back here until it is due.
    Capabilities::default().check_due(NAME, message)?;
    let (topic, size) = (message.topic(), message.size());
    topic.check_for_publish()?;
    let limit = if topic.is_reserved() { LARGEST + ROOM_FOR_A_LETTER } else { LARGEST };
    if size > limit {
        return Err(PublishError::TooLarge { topic: topic.to_string(), size, limit });
    }
    Ok(())
}
