//! The rules of CloudEvents 1.0 that every wire shares.
//!
//! Here: the attributes of a message as names and values ([`attributes`]), and reading what came in whatever form it has
//! ([`Incoming`]: binary, structured, or a plain body). Not here: how an engine spells an attribute's name (`ce-id` on NATS,
//! `ce_id` on Kafka), which is its crate's.

mod attributes;
mod incoming;
mod percent;
mod structured;

pub use attributes::{attributes, parse_time, write_time};
pub use incoming::{Incoming, Origin};
pub use percent::{decode_value, encode_value};

/// The media type of a structured message.
pub const STRUCTURED: &str = "application/cloudevents+json";

#[cfg(test)]
mod tests;
