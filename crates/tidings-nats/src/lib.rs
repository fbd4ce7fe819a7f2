//! NATS core and JetStream brokers of Tidings.
mod connect;
mod core;
mod envelope;
mod failure;
mod headers;
mod incoming;
mod names;
mod outgoing;
mod settings;
