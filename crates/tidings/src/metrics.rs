//! What is counted, under which names, for Prometheus.
//!
//! A part takes its own handle once, at its start, so that counting costs one atomic addition.

use std::{
    fmt,
    sync::{Arc, OnceLock, atomic::AtomicU64},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};
use tidings_core::{Broker, Health};

use crate::handlers::SubscriptionName;

/// Seconds from half a millisecond to the longest handler timeout that is sensible.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0];

/// All metrics of a service.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    calls: Family<Call, Counter>,
    call_seconds: Family<Method, Histogram, fn() -> Histogram>,
    published: Family<Way, Counter>,
    handled: Family<Subscriber, Counter>,
    retried: Family<Subscriber, Counter>,
    dead_lettered: Family<Subscriber, Counter>,
    letters_without_body: Family<Subscriber, Counter>,
    in_hand: Family<Subscriber, Gauge>,
    blocked_by_key: Family<Subscriber, Gauge>,
    handler_seconds: Family<Subscriber, Histogram, fn() -> Histogram>,
    outbox: OutboxMetrics,
    broker: BrokerCounters,
}

/// A call of a gRPC method and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    method: String,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    method: String,
}

/// How an event gets to the broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    by: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Subscriber {
    group: String,
    pattern: String,
}

/// What one subscription counts.
#[derive(Debug, Clone)]
pub(crate) struct SubscriptionMetrics {
    /// Messages whose handler succeeded.
    pub(crate) handled: Counter,
    /// Failed attempts that are followed by another.
    pub(crate) retried: Counter,
    /// Messages given up.
    pub(crate) dead_lettered: Counter,
    /// Dead letters that the broker took only without their body.
    pub(crate) letters_without_body: Counter,
    /// Messages fetched and not settled.
    pub(crate) in_hand: Gauge,
    /// 1 while fetching stands still since too many messages wait behind failing ones.
    pub(crate) blocked_by_key: Gauge,
    /// How long attempts took.
    pub(crate) seconds: Histogram,
}

/// What the outbox and its relay count.
#[derive(Debug, Clone, Default)]
pub(crate) struct OutboxMetrics {
    /// Rows that wait for the broker.
    pub(crate) pending: Gauge,
    /// The age of the oldest of them, in seconds.
    pub(crate) oldest_seconds: Gauge<f64, AtomicU64>,
    /// Rows that the broker acknowledged.
    pub(crate) relayed: Counter,
    /// Rows that it refused for good.
    pub(crate) rejected: Counter,
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("tidings");
        let mut inner = Inner {
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(seconds),
            published: Family::default(),
            handled: Family::default(),
            retried: Family::default(),
            dead_lettered: Family::default(),
            letters_without_body: Family::default(),
            in_hand: Family::default(),
            blocked_by_key: Family::default(),
            handler_seconds: Family::new_with_constructor(seconds),
            outbox: OutboxMetrics::default(),
            broker: BrokerCounters::default(),
            registry: Registry::default(),
        };
        inner.outbox.relayed = inner.published.get_or_create_owned(&Way { by: "outbox" });
        registry.register("calls", "Calls of gRPC methods by status code", inner.calls.clone());
        registry.register("call_seconds", "How long calls took", inner.call_seconds.clone());
        registry.register(
            "events_published",
            "Events that the broker took, from the outbox or a publisher",
            inner.published.clone(),
        );
        registry.register("messages_handled", "Messages whose handler succeeded", inner.handled.clone());
        registry.register("messages_retried", "Failed attempts followed by another", inner.retried.clone());
        registry.register("messages_dead_lettered", "Messages given up", inner.dead_lettered.clone());
        registry.register(
            "letters_without_body",
            "Dead letters that the broker took only without their body",
            inner.letters_without_body.clone(),
        );
        registry.register("messages_in_hand", "Messages fetched and not settled", inner.in_hand.clone());
        registry.register("blocked_by_key", "1 while too many messages wait behind failing ones", inner.blocked_by_key.clone());
        registry.register("handler_seconds", "How long attempts took", inner.handler_seconds.clone());
        registry.register("outbox_pending", "Rows that wait for the broker", inner.outbox.pending.clone());
        registry.register("outbox_oldest_seconds", "Age of the oldest waiting row", inner.outbox.oldest_seconds.clone());
        registry.register("outbox_rejected", "Rows that the broker refused for good", inner.outbox.rejected.clone());
        registry.register_collector(Box::new(inner.broker.clone()));
        inner.registry = registry;
        Self(Arc::new(inner))
    }

    /// What one subscription counts.
    pub(crate) fn subscription(&self, name: &SubscriptionName) -> SubscriptionMetrics {
        let labels = Subscriber { group: name.group.to_string(), pattern: name.pattern.to_string() };
        SubscriptionMetrics {
            handled: self.0.handled.get_or_create_owned(&labels),
            retried: self.0.retried.get_or_create_owned(&labels),
            dead_lettered: self.0.dead_lettered.get_or_create_owned(&labels),
            letters_without_body: self.0.letters_without_body.get_or_create_owned(&labels),
            in_hand: self.0.in_hand.get_or_create_owned(&labels),
            blocked_by_key: self.0.blocked_by_key.get_or_create_owned(&labels),
            seconds: self.0.handler_seconds.get_or_create_owned(&labels),
        }
    }

    /// What the outbox counts.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn outbox(&self) -> OutboxMetrics {
        self.0.outbox.clone()
    }

    /// Events that a publisher handed to the broker.
    pub(crate) fn published(&self) -> Counter {
        self.0.published.get_or_create_owned(&Way { by: "publisher" })
    }

    /// Shows what the broker itself counts.
    pub(crate) fn show_counters_of(&self, broker: &Arc<dyn Broker>) {
        // A second one would be the same: a service opens one broker.
        let _ = self.0.broker.0.set(Arc::clone(broker));
    }

    /// Counts one call.
    #[cfg(feature = "grpc")]
    pub(crate) fn call(&self, method: &str, code: &'static str, seconds: f64) {
        self.0.calls.get_or_create(&Call { method: method.to_owned(), code }).inc();
        self.0.call_seconds.get_or_create(&Method { method: method.to_owned() }).observe(seconds);
    }

    /// Everything in the text format of Prometheus.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    broker: &'static str,
}

/// What the broker says and counts by itself, read when somebody asks.
#[derive(Clone, Default)]
struct BrokerCounters(Arc<OnceLock<Arc<dyn Broker>>>);

impl Collector for BrokerCounters {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(broker) = self.0.get() else { return Ok(()) };
        let up = ConstGauge::new(i64::from(!matches!(broker.health(), Health::Down(_))));
        let mut metric = encoder.encode_descriptor("broker_up", "1 while the broker is within reach", None, up.metric_type())?;
        up.encode(metric.encode_family(&Named { broker: broker.name() })?)?;
        for (name, value) in broker.counters() {
            let counter = ConstCounter::new(value);
            let name = format!("broker_{name}");
            counter.encode(encoder.encode_descriptor(&name, "Counted by the broker", None, counter.metric_type())?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for BrokerCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BrokerCounters").field(&self.0.get().map(|broker| broker.name())).finish()
    }
}
