//! What a Tidings broker plug-in is written against, and nothing else.
//!
//! Here live the message, the names it carries ([`Topic`], [`GroupName`], [`MessageId`] …, each checked once, on
//! construction), the [`Event`] trait, the object-safe [`Broker`] with its two halves [`Fetch`] and [`Settle`], the typed
//! errors, and the CloudEvents rules that every wire shares ([`wire`]).
//!
//! Not here: any I/O, any runtime, any engine, and anything that applications use directly. They depend on `tidings`.

mod broker;
mod capabilities;
mod error;
mod event;
mod headers;
mod message;
mod name;
mod text;
mod trace;
pub mod url;
pub mod wire;

pub use broker::{
    BoxFuture, Broker, Client, Delivery, Fetch, Fetched, Health, Link, Members, Outcome, Receipt, Settle, Start, Subscribed,
    Subscription,
};
pub use capabilities::{Capabilities, Delay, EarliestStart, KeyOrder};
pub use error::{BrokerError, PublishError, PublishFailures};
pub use event::{BoxError, Event};
pub use headers::Headers;
pub use message::{Message, MessageBuilder, dedup_of};
pub use name::{GroupName, InvalidName, Key, MessageId, Source, Topic, TopicPattern};
pub use text::Text;
pub use trace::{InvalidTraceparent, TraceContext, TraceId, Traceparent};
