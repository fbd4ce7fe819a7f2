//! Event-driven microservices: services, typed handlers, transactional outbox, brokers chosen by URL.
