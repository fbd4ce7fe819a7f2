//! What a registration comes to on a broker, checked before anything is asked of it.

use std::{sync::Arc, time::Duration};

use tidings_core::{BrokerError, Capabilities, Delay, EarliestStart, KeyOrder, Members, Start, Subscription};

use super::{Backlog, Limits, SubscribeError, hand::Bounds, policy};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::inbox::Transactions;
use crate::{
    Publisher,
    handlers::{Dispatch, Order, Pause, Place, Registration, Retry, SubscriptionName},
};

/// A subscription as it will run.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) name: SubscriptionName,
    pub(super) handler: Arc<dyn Dispatch>,
    /// The handler's type name.
    pub(super) handler_name: &'static str,
    pub(super) request: Subscription,
    pub(super) retry: Retry,
    pub(super) bounds: Bounds,
    pub(super) timeout: Duration,
    pub(super) capabilities: Capabilities,
    pub(super) pause: Option<Pause>,
    pub(super) backlog: Option<Backlog>,
    /// Of a handler that takes one.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    transactions: Option<Transactions>,
}

impl Plan {
    /// Makes the plan, or says what the broker cannot do.
    pub(super) fn of(
        registration: Registration,
        limits: &Limits,
        broker: &'static str,
        capabilities: Capabilities,
    ) -> Result<Self, SubscribeError> {
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        let transactions = registration.joined.clone().map(|joined| joined.transactions(&registration.options, limits));
        let Registration { pattern, group, options, handler, backlog, name: handler_name, .. } = registration;
        let order = options.order.unwrap_or_default();
        let members = options.members.unwrap_or(Members::Share);
        // Of batches two: one is handled while the next is gathered.
        let usual = options.batching.map_or(limits.concurrency, |batching| 2 * batching.max);
        let concurrency = options.concurrency.unwrap_or(usual).max(1);
        let bounds = Bounds {
            in_flight: limits.in_flight.max(concurrency),
            concurrency,
            parked: limits.parked.max(1),
            parked_bytes: limits.parked_bytes,
            ordered: order != Order::None,
        };
        let unsettled = bounds.in_flight + bounds.parked;
        let retry = options.retry.unwrap_or(limits.retry);
        if let Some((capability, instead)) =
            lacking(&capabilities, order, members, options.start.as_ref(), pattern.has_wildcard())
        {
            let source = BrokerError::Unsupported { broker, capability, instead };
            return Err(SubscribeError::Broker { handler: handler_name, pattern, source });
        }
        if bounds.ordered && policy::total_wait(&retry) > policy::LONGEST_ORDERED {
            return Err(SubscribeError::LongWaits { handler: handler_name, pattern, waits: policy::total_wait(&retry) });
        }
        if unsettled > capabilities.max_unsettled {
            let (in_flight, parked, most) = (bounds.in_flight, bounds.parked, capabilities.max_unsettled);
            return Err(SubscribeError::TooMany { in_flight, parked, broker, most });
        }
        let request = Subscription { group: group.clone(), pattern: pattern.clone(), members, start: options.start, unsettled };
        Ok(Self {
            name: SubscriptionName { group, pattern },
            handler,
            handler_name,
            request,
            retry,
            bounds,
            timeout: options.timeout.unwrap_or(limits.handler_timeout),
            capabilities,
            pause: options.pause,
            backlog,
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            transactions,
        })
    }

    /// Where its messages come in.
    pub(super) fn place(&self, publisher: Publisher) -> Place {
        Place {
            subscription: self.name.clone(),
            publisher,
            timeout: self.timeout,
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            transactions: self.transactions.clone(),
        }
    }

    /// Whether a message goes back to the broker to wait there, rather than in the process.
    pub(super) fn waits_at_broker(&self, keyed: bool, wait: Duration) -> bool {
        const SHORT: Duration = Duration::from_secs(1);
        let holds_its_key = keyed && self.bounds.ordered;
        !holds_its_key && wait > SHORT && self.capabilities.delay != Delay::None
    }

    /// Whether the engine keeps what is handed back and what goes to the dead letters.
    pub(super) fn keeps_messages(&self) -> bool {
        self.capabilities.durable
    }
}

/// What is asked for and the broker lacks, and what to use instead.
fn lacking(
    capabilities: &Capabilities,
    order: Order,
    members: Members,
    start: Option<&Start>,
    wildcard: bool,
) -> Option<(&'static str, &'static str)> {
    let begins_earlier = matches!(start, Some(Start::First | Start::At(_)));
    if order == Order::Group && capabilities.key_order < KeyOrder::Group {
        Some((
            "keep the order of a key across the instances of a group",
            "use `.order(Order::Key)`, which keeps it within each instance, or a broker that can",
        ))
    } else if wildcard && !capabilities.wildcards {
        Some(("match topics by `*` and `>`", "register the handler once for each topic"))
    } else if members == Members::Share && !capabilities.groups {
        Some(("share messages among the instances of a group", "use `.each_instance()`, or a broker that can"))
    } else if members == Members::Each && begins_earlier {
        Some(("begin `.each_instance()` with what was published before", "leave `.start(…)` out: each instance gets what comes"))
    } else if begins_earlier && capabilities.earliest_start == EarliestStart::Now {
        Some(("begin with what was published before the group subscribed", "leave `.start(…)` out, or use `Start::Now`"))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::TopicPattern;

    use super::*;
    use crate::handlers::{Context, Options, Slot};

    struct Nothing;

    impl Dispatch for Nothing {
        fn dispatch(&self, _: Context, _: &mut Slot) {}
    }

    fn plan(options: Options, capabilities: Capabilities) -> Result<Plan, String> {
        let registration = Registration {
            pattern: TopicPattern::new("user.*").unwrap(),
            group: "mail".parse().unwrap(),
            options,
            handler: Arc::new(Nothing),
            name: "email::welcome",
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            joined: None,
            backlog: None,
        };
        Plan::of(registration, &Limits::default(), "test", capabilities)
            .map_err(|error| crate::error::Error::from(error).to_string())
    }

    fn everything() -> Capabilities {
        let mut all = Capabilities::default();
        (all.groups, all.wildcards, all.durable) = (true, true, true);
        (all.key_order, all.delay, all.earliest_start) = (KeyOrder::Group, Delay::Native, EarliestStart::First);
        all
    }

    #[test]
    fn what_a_broker_cannot_do_is_refused_with_what_to_use_instead() {
        let minute = Duration::from_secs(60);
        let asks = |options| Options { ..options };
        type Lack = fn(&mut Capabilities);
        let cases: [(Options, Lack, &str, &str); 6] = [
            (
                asks(Options { order: Some(Order::Group), ..Options::default() }),
                |lacks| lacks.key_order = KeyOrder::Instance,
                "across the instances",
                "Order::Key",
            ),
            (Options::default(), |lacks| lacks.wildcards = false, "`*` and `>`", "each topic"),
            (Options::default(), |lacks| lacks.groups = false, "share messages", ".each_instance()"),
            (
                asks(Options { start: Some(Start::First), ..Options::default() }),
                |lacks| lacks.earliest_start = EarliestStart::Now,
                "before the group subscribed",
                "Start::Now",
            ),
            (
                asks(Options { start: Some(Start::First), members: Some(Members::Each), ..Options::default() }),
                |_| {},
                "published before",
                "leave `.start(…)` out",
            ),
            (
                asks(Options { retry: Some(Retry::default().for_at_most(2 * minute)), ..Options::default() }),
                |_| {},
                "add up to 120s",
                "`.order(Order::None)`",
            ),
        ];
        for (options, lack, said, instead) in cases {
            let mut capabilities = everything();
            lack(&mut capabilities);
            let error = plan(options, capabilities).err().unwrap();
            for part in ["email::welcome", "user.*", said, instead] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }

    #[test]
    fn more_in_hand_than_the_engine_lets_out_is_refused_with_the_settings_that_say_so() {
        let mut capabilities = everything();
        capabilities.max_unsettled = 4351;
        let error = plan(Options::default(), capabilities).err().unwrap();
        assert!(error.contains("in_flight 256") && error.contains("parked 4096") && error.contains("4351"), "{error}");
    }

    #[test]
    fn a_long_wait_goes_back_to_the_broker_unless_it_holds_a_key() {
        let plan_of = |options| plan(options, everything()).unwrap();
        let long = Duration::from_millis(1001);
        let ordered = plan_of(Options::default());
        assert!(ordered.waits_at_broker(false, long));
        assert!(!ordered.waits_at_broker(true, long));
        assert!(!ordered.waits_at_broker(false, Duration::from_secs(1)));
        assert!(plan_of(Options { order: Some(Order::None), ..Options::default() }).waits_at_broker(true, long));
        let mut without = everything();
        without.delay = Delay::None;
        assert!(!plan(Options::default(), without).unwrap().waits_at_broker(false, long));
    }

    #[test]
    fn more_concurrency_than_in_flight_raises_that() {
        let plan = plan(Options { concurrency: Some(1000), ..Options::default() }, everything()).unwrap();
        assert_eq!((plan.bounds.in_flight, plan.request.unsettled), (1000, 5096));
    }
}
