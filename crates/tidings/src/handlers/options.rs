//! What differs from the default for one subscription.

use std::time::Duration;

use tidings_core::{GroupName, InvalidName, Members, Start};

use super::Pause;

/// What a subscription does; each is set where its handler is registered, and has a default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// Who shares it; by default the service's name.
    pub(crate) group: Option<Result<GroupName, InvalidName>>,
    /// Shared by the group, unless [`Members::Each`].
    pub(crate) members: Option<Members>,
    /// Where a new group begins; by default the earliest that the engine can.
    pub(crate) start: Option<Start>,
    /// When a failed attempt is repeated.
    pub(crate) retry: Option<Retry>,
    /// Whether messages of one key keep their order.
    pub(crate) order: Option<Order>,
    /// The most handlers that run at once; by default the service's setting.
    pub(crate) concurrency: Option<usize>,
    /// How long one attempt may take; by default the service's setting.
    pub(crate) timeout: Option<Duration>,
    /// How batches are gathered, of a handler that takes them.
    pub(crate) batching: Option<Batching>,
    /// What pauses it.
    pub(crate) pause: Option<Pause>,
}

/// How batches are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Batching {
    pub(crate) max: usize,
    pub(crate) wait: Duration,
}

impl Options {
    /// These, and for what they do not say `others`.
    pub(crate) fn or(self, others: &Self) -> Self {
        Self {
            group: self.group.or_else(|| others.group.clone()),
            members: self.members.or(others.members),
            start: self.start.or(others.start),
            retry: self.retry.or(others.retry),
            order: self.order.or(others.order),
            concurrency: self.concurrency.or(others.concurrency),
            timeout: self.timeout.or(others.timeout),
            batching: self.batching.or(others.batching),
            pause: self.pause.or_else(|| others.pause.clone()),
        }
    }
}

/// The methods that say what differs from the default: the same ones on a handler and on a value of handlers.
///
/// Each calls `self.with(options)` with the one option that it sets.
macro_rules! option_methods {
    ([$($vis:tt)*] -> $out:ty $(where $($bound:tt)*)?) => {
        /// Who shares the messages; by default the group of the service's name.
        ///
        /// Each group gets every message, its members share them. 1 to 64 letters, digits, `-` and `_`, or the service does not
        /// start.
        $($vis)* fn group(self, group: impl AsRef<str>) -> $out $(where $($bound)*)? {
            let group = Some(tidings_core::GroupName::new(group.as_ref()));
            self.with($crate::handlers::Options { group, ..Default::default() })
        }

        /// When a failed attempt is repeated and when it is given up; by default as the service's settings say
        /// ([`Retry::default`](crate::Retry), where they say nothing).
        $($vis)* fn retry(self, retry: $crate::handlers::Retry) -> $out $(where $($bound)*)? {
            self.with($crate::handlers::Options { retry: Some(retry), ..Default::default() })
        }

        /// Whether messages of one key keep their order; by default they do, in each instance.
        $($vis)* fn order(self, order: $crate::handlers::Order) -> $out $(where $($bound)*)? {
            self.with($crate::handlers::Options { order: Some(order), ..Default::default() })
        }

        /// How many messages one instance handles at once; by default the service's setting (64). 1 to 1,048,576.
        $($vis)* fn concurrency(self, messages: usize) -> $out $(where $($bound)*)? {
            self.with($crate::handlers::Options { concurrency: Some(messages), ..Default::default() })
        }

        /// How long one attempt may take until it is cancelled and counts as failed; by default the service's setting (30 s).
        /// At most a day.
        $($vis)* fn timeout(self, timeout: std::time::Duration) -> $out $(where $($bound)*)? {
            self.with($crate::handlers::Options { timeout: Some(timeout), ..Default::default() })
        }

        /// Not shared: every instance of the service gets every message that is published while it runs.
        ///
        /// For what each instance keeps for itself, such as a cache. Nothing waits for an instance that is away.
        $($vis)* fn each_instance(self) -> $out $(where $($bound)*)? {
            let members = Some(tidings_core::Members::Each);
            self.with($crate::handlers::Options { members, ..Default::default() })
        }

        /// What pauses it and lets it go on.
        $($vis)* fn pausable(self, pause: &$crate::handlers::Pause) -> $out $(where $($bound)*)? {
            self.with($crate::handlers::Options { pause: Some(pause.clone()), ..Default::default() })
        }

        /// Where a group begins that the broker has not seen before; by default the earliest that the engine can.
        ///
        /// One that the engine cannot do is refused when the service starts.
        $($vis)* fn start(self, start: tidings_core::Start) -> $out $(where $($bound)*)? {
            self.with($crate::handlers::Options { start: Some(start), ..Default::default() })
        }
    };
}
pub(super) use option_methods;

/// Whether messages of one key keep their order in a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Order {
    /// One at a time a key, in the order of their publishing, as far as the broker reaches; also through retries.
    #[default]
    Key,
    /// As they come, all at once.
    None,
    /// One at a time a key, in order, across all instances of the group; refused at start where the broker cannot.
    Group,
}

/// When a failed attempt is repeated, and when it is given up.
///
/// Waits grow by a factor up to a longest one, and each is drawn at random between nothing and that (full jitter). Every policy
/// ends: by a number of attempts, or by a time. The default is 5 attempts, 100 ms growing threefold up to 30 s.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    pub(crate) first: Duration,
    pub(crate) factor: u32,
    pub(crate) longest: Duration,
    pub(crate) limit: Limit,
}

/// What ends a retry policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// So many attempts, the first included.
    Attempts(u32),
    /// So long since the message's own time.
    Age(Duration),
}

impl Default for Retry {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), factor: 3, longest: Duration::from_secs(30), limit: Limit::Attempts(5) }
    }
}

impl Retry {
    /// The longest wait; the clocks of engines end somewhere.
    pub(crate) const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
    /// The most attempts: a policy that never ends is none.
    const MOST_ATTEMPTS: u32 = 10_000;
    /// The longest time since a message's own.
    const LONGEST_AGE: Duration = Duration::from_secs(365 * 24 * 3600);
    /// The shortest first wait: what fails at once would take all of a processor.
    const SHORTEST: Duration = Duration::from_millis(1);

    /// The part of it that makes no sense, as it is written, and what is allowed.
    pub(crate) fn mistake(&self) -> Option<(String, &'static str)> {
        match self.limit {
            Limit::Attempts(1) => None,
            _ if self.first < Self::SHORTEST => {
                Some((format!("a retry that begins with {:?}", self.first), "would never rest: at least 1 ms"))
            }
            _ if self.longest > Self::LONGEST => {
                Some((format!("a retry that waits up to {:?}", self.longest), "waits too long: at most 30 days"))
            }
            Limit::Attempts(most) if most > Self::MOST_ATTEMPTS => {
                Some((format!("`.attempts({most})`"), "would never end: at most 10,000, or `.for_at_most(…)`"))
            }
            Limit::Age(most) if most > Self::LONGEST_AGE => {
                Some((format!("`.for_at_most({most:?})`"), "would never end: at most 365 days"))
            }
            _ => None,
        }
    }

    /// The default with these figures.
    pub(crate) fn growing(first: Duration, longest: Duration, attempts: u32) -> Self {
        Self { first, longest: longest.max(first), limit: Limit::Attempts(attempts), ..Self::default() }
    }

    /// Whether it ends by time.
    pub(crate) fn is_by_age(&self) -> bool {
        matches!(self.limit, Limit::Age(_))
    }

    /// Whether all waits after one of this length are as long.
    pub(crate) fn grows_no_more(&self, wait: Duration) -> bool {
        wait == self.longest || self.factor == 1
    }

    /// One attempt; a failure is a dead letter.
    #[must_use]
    pub fn never() -> Self {
        Self { limit: Limit::Attempts(1), ..Self::default() }
    }

    /// Waits that begin with `first`, at least 1 ms, and double up to `longest`, at most 30 days; 5 attempts unless said otherwise.
    #[must_use]
    pub fn exponential(first: Duration, longest: Duration) -> Self {
        Self { first, factor: 2, longest: longest.max(first), limit: Limit::Attempts(5) }
    }

    /// How much each wait is longer than the one before it, at least 1.
    #[must_use]
    pub fn factor(self, factor: u32) -> Self {
        Self { factor: factor.max(1), ..self }
    }

    /// So many attempts in all, 1 to 10,000.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { limit: Limit::Attempts(attempts.max(1)), ..self }
    }

    /// As many attempts as fit in `time`, at most 365 days, since the message's own time, which no restart forgets; of a message
    /// that says none, since the first attempt that this process made.
    #[must_use]
    pub fn for_at_most(self, time: Duration) -> Self {
        Self { limit: Limit::Age(time), ..self }
    }
}
