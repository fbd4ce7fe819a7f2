//! Publishes that fail: without having been taken, or although they were.

use std::collections::HashSet;

use tidings_core::{Broker, Message, PublishError, PublishFailures};

use super::{
    choice::{Choice, Name},
    plan::Fault,
};

/// Publishes what is not chosen to fail.
///
/// With a message that is not taken fail those of its key behind it: published again in this order, they keep it.
pub(super) async fn publish(choice: &Choice, broker: &dyn Broker, batch: &[Message]) -> Result<(), PublishFailures> {
    let (mut failed, mut taken, mut places) = (Vec::new(), Vec::new(), Vec::new());
    let mut behind = HashSet::new();
    for (place, message) in batch.iter().enumerate() {
        let key = message.key();
        if key.is_some_and(|key| behind.contains(key)) || choice.hits(Fault::FailedPublish, Name::of_published(message)).is_some()
        {
            behind.extend(key);
            failed.push((place, away("the message was not taken")));
        } else {
            taken.push(message.clone());
            places.push(place);
        }
    }
    let mut refused = HashSet::new();
    if !taken.is_empty()
        && let Err(failures) = broker.publish(&taken).await
    {
        for (place, error) in failures.into_failed() {
            refused.insert(place);
            failed.extend(places.get(place).map(|place| (*place, error)));
        }
    }
    for (place, message) in taken.iter().enumerate().filter(|(place, _)| !refused.contains(place)) {
        if choice.hits(Fault::LostAcknowledgement, Name::of_published(message)).is_some() {
            failed.extend(places.get(place).map(|place| (*place, away("the acknowledgement was lost"))));
        }
    }
    failed.sort_unstable_by_key(|(place, _)| *place);
    PublishFailures::check(failed)
}

fn away(what: &str) -> PublishError {
    PublishError::Unavailable(format!("injected: {what}").into())
}
