//! Publishing on NATS core: into the client, in order. What became of it only a flush tells.

use async_nats::message::OutboundMessage;
use tidings_core::{Message, PublishError, PublishFailures};

use crate::{connect::Connection, outgoing, settings::Wire};

pub(super) async fn publish(connection: &Connection, wire: Wire, batch: &[Message]) -> Result<(), PublishFailures> {
    if let Err(error) = connection.ready() {
        return Err(outgoing::refuse_all(batch, &error));
    }
    // Once a batch: it lies behind a lock.
    let max_payload = connection.client.max_payload();
    let mut failed = Vec::new();
    let mut sent = 0;
    let sending = async {
        for (place, message) in batch.iter().enumerate() {
            match outgoing::of(message, wire, None, max_payload) {
                Ok(OutboundMessage { subject, payload, headers, .. }) => {
                    // Not as a whole, which the client would move four times.
                    let published = match headers {
                        None => connection.client.publish(subject, payload).await,
                        Some(headers) => connection.client.publish_with_headers(subject, headers, payload).await,
                    };
                    // It fails only when the client has ended.
                    if published.is_err() {
                        failed.push((place, PublishError::Closed));
                    }
                }
                Err(error) => failed.push((place, error)),
            }
            sent = place + 1;
        }
    };
    let done = connection.unless_broken(sending).await.is_some();
    if !done {
        failed.extend((sent..batch.len()).map(|place| (place, lost())));
    }
    // Closed meanwhile: what went into the client after its last word to the server is gone, and nobody can tell which.
    if connection.is_closed() {
        return Err(PublishFailures::all(batch.len(), || PublishError::Closed));
    }
    PublishFailures::check(failed)
}

fn lost() -> PublishError {
    PublishError::Unavailable("the connection was lost meanwhile".into())
}
