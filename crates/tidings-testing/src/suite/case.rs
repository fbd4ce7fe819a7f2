//! What a case is, and when it applies.

use tidings_core::{BoxFuture, Capabilities, Delay, EarliestStart, KeyOrder};

use super::{
    engine::{Engine, Place},
    reader::subscribe,
};

/// One promise, and how it is tried.
#[derive(Clone, Copy)]
pub(super) struct Case {
    /// `room::promise`.
    pub(super) name: &'static str,
    /// What the engine must be able to do for the promise to be one.
    pub(super) needs: &'static [Need],
    pub(super) run: fn(Place) -> BoxFuture<'static, ()>,
}

/// The table of some rooms' cases, and of what each one needs.
macro_rules! table {
    ($table:ident, $($room:ident: { $($case:ident [$($need:ident)*])* })*) => {
        pub(super) const $table: &[Case] = &[$($(Case {
            name: concat!(stringify!($room), "::", stringify!($case)),
            needs: &[$($crate::suite::case::Need::$need),*],
            run: |place| Box::pin($room::$case(place)),
        }),*),*];
    };
}
pub(super) use table;

/// What a case needs of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Messages that wait.
    Kept,
    /// The opposite, for what such an engine promises instead.
    NotKept,
    Groups,
    Wildcards,
    /// Order of a key, at least within one instance.
    Order,
    /// Order of a key across the instances of a group.
    OrderInGroup,
    Delay,
    /// What is published may be due later.
    HeldBack,
    NotHeldBack,
    Recognition,
    Attempts,
    StartAtFirst,
    StartNowOnly,
    /// Deliveries that are ours for a time.
    Lease,
    /// Deliveries that are ours for as long as we live.
    NoLease,
    OtherProcesses,
    Server,
    /// A system that tells how much memory a process has.
    MemoryTold,
}

/// What is known of an engine before its first case.
pub(super) struct Facts {
    capabilities: Capabilities,
    lease: bool,
    other_processes: bool,
    server: bool,
}

impl Facts {
    /// Asks a broker on a place of its own; `None` where the engine is not installed.
    pub(super) async fn of(engine: &Engine) -> Option<Self> {
        let place = engine.place().await?;
        let broker = place.open().await;
        let reader = subscribe(&*broker, "facts", "facts").await;
        Some(Self {
            capabilities: broker.capabilities(),
            lease: reader.settle.lease().is_some(),
            other_processes: engine.other_processes,
            server: engine.has_server(),
        })
    }

    fn have(&self, need: Need) -> bool {
        let able = &self.capabilities;
        match need {
            Need::Kept => able.durable,
            Need::NotKept => !able.durable,
            Need::Groups => able.groups,
            Need::Wildcards => able.wildcards,
            Need::Order => able.key_order >= KeyOrder::Instance,
            Need::OrderInGroup => able.key_order >= KeyOrder::Group,
            Need::Delay => able.delay != Delay::None,
            Need::HeldBack => !able.longest_delay.is_zero(),
            Need::NotHeldBack => able.longest_delay.is_zero(),
            Need::Recognition => able.deduplication,
            Need::Attempts => able.attempt_counts,
            Need::StartAtFirst => able.earliest_start == EarliestStart::First,
            Need::StartNowOnly => able.earliest_start == EarliestStart::Now,
            Need::Lease => self.lease,
            Need::NoLease => !self.lease,
            Need::OtherProcesses => self.other_processes,
            Need::Server => self.server,
            Need::MemoryTold => cfg!(target_os = "linux"),
        }
    }
}

impl Need {
    /// Why a case that needs this does not apply where it is not there.
    pub(super) const fn absence(self) -> &'static str {
        match self {
            Self::Kept => "it keeps no messages (`durable`)",
            Self::NotKept => "it keeps messages (`durable`)",
            Self::Groups => "it has no groups (`groups`)",
            Self::Wildcards => "it has no patterns (`wildcards`)",
            Self::Order => "it keeps no order (`key_order`)",
            Self::OrderInGroup => "the order of a key does not reach across instances (`key_order`)",
            Self::Delay => "nothing waits in it for a later attempt (`delay`)",
            Self::HeldBack => "it holds no message back until it is due (`longest_delay`)",
            Self::NotHeldBack => "it holds messages back until they are due (`longest_delay`)",
            Self::Recognition => "it recognises no second publish (`deduplication`)",
            Self::Attempts => "it counts no attempts for others (`attempt_counts`)",
            Self::StartAtFirst => "a group begins now (`earliest_start`)",
            Self::StartNowOnly => "a group can begin in the past (`earliest_start`)",
            Self::Lease => "a delivery is ours for as long as we live (`lease`)",
            Self::NoLease => "a delivery is ours for a time (`lease`)",
            Self::OtherProcesses => "another process cannot open it",
            Self::Server => "it has no server",
            Self::MemoryTold => "how much memory a process has is told on Linux alone",
        }
    }
}

impl Case {
    /// What it needs and is not there; `None` where it does.
    pub(super) fn does_not_apply(&self, facts: &Facts) -> Option<Need> {
        self.needs.iter().find(|need| !facts.have(**need)).copied()
    }

    /// Whether it runs once only: processes, servers and links to them, a million messages.
    pub(super) fn runs_once(&self) -> bool {
        ["processes::", "servers::", "links::"].iter().any(|room| self.name.starts_with(room)) || self.takes_minutes()
    }

    /// Whether it runs only for who asks for it.
    pub(super) fn takes_minutes(&self) -> bool {
        self.name.starts_with("long::")
    }
}
