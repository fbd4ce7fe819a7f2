//! NATS core and JetStream brokers of Tidings.
