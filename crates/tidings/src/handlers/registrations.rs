//! From what a program registered to what the delivery loop subscribes to: checked once, before anything is opened.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
    time::Duration,
};

use tidings_core::{GroupName, InvalidName, Members, TopicPattern};

use super::{
    Context, Failure, Handlers, Options, Registration,
    arguments::is_another,
    collection::Entry,
    dispatch::{Dispatch, Needs, Slot},
    options::Batching,
};
use crate::__private::without_a_type;

/// Why handlers cannot be registered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidHandlers {
    /// A topic, pattern or group breaks its rule.
    #[error("handler {handler}: {source}")]
    Name {
        /// The handler's name.
        handler: &'static str,
        /// Which name, its value and the rule.
        source: InvalidName,
    },
    /// An option has a value that makes no sense.
    #[error("handler {handler}: {option} {rule}")]
    Option {
        /// The handler's name.
        handler: &'static str,
        /// The option with its value, as it is written.
        option: String,
        /// What is allowed.
        rule: &'static str,
    },
    /// It takes more than one transaction: they could not commit together.
    #[error(
        "handler {handler} takes more than one `Tx`, which could not commit together: take one, and write the rest in its database"
    )]
    ManyTransactions {
        /// The handler's name.
        handler: &'static str,
    },
    /// One transaction cannot record a batch whose messages succeed and fail one by one.
    #[error(
        "handler {handler} takes a batch and a `Tx`: one transaction cannot commit some messages of a batch and not the others; begin one in the handler, and make its writes repeatable"
    )]
    TransactionOfABatch {
        /// The handler's name.
        handler: &'static str,
    },
    /// Handlers of events that share a topic are one subscription, and it has one set of options.
    #[error(
        "handlers {first} and {second} take events of one topic, {pattern}, and are one subscription: give both the same options and the same database, or one of them a group of its own with `.group(\"…\")`"
    )]
    DifferentOptions {
        /// The name of the one.
        first: &'static str,
        /// The name of the other.
        second: &'static str,
        /// The topic.
        pattern: TopicPattern,
    },
    /// Two handlers would share each other's messages.
    #[error(
        "handlers {first} and {second} both take {pattern} in the group {group}: give one of them its own with `.group(\"…\")`"
    )]
    SameSubscription {
        /// The name of the one.
        first: &'static str,
        /// The name of the other.
        second: &'static str,
        /// What both take.
        pattern: TopicPattern,
        /// The group of both.
        group: GroupName,
    },
}

impl Handlers {
    /// What to subscribe to, with `group` for those that do not say theirs.
    pub(crate) fn registrations(self, group: &GroupName) -> Result<Vec<Registration>, InvalidHandlers> {
        let mut places: HashMap<(GroupName, TopicPattern), usize> = HashMap::new();
        let mut shared: Vec<(Registration, ByType)> = Vec::new();
        for entry in self.entries() {
            let types = entry.types;
            let registration = registration(entry, group)?;
            match places.entry((registration.group.clone(), registration.pattern.clone())) {
                hash_map::Entry::Vacant(place) => {
                    place.insert(shared.len());
                    let by_type = ByType(vec![(types, Arc::clone(&registration.handler))]);
                    shared.push((registration, by_type));
                }
                hash_map::Entry::Occupied(place) => {
                    let (first, by_type) = &mut shared[*place.get()];
                    by_type.join(first, types, registration)?;
                }
            }
        }
        Ok(shared.into_iter().map(|(registration, by_type)| by_type.into_handler_of(registration)).collect())
    }
}

/// Handlers of events that share a topic and differ in type, in one subscription.
struct ByType(Vec<(&'static [&'static str], Arc<dyn Dispatch>)>);

impl ByType {
    /// Adds another handler of what `first` subscribes to.
    fn join(&mut self, first: &Registration, types: &'static [&'static str], other: Registration) -> Result<(), InvalidHandlers> {
        let taken = |known: &'static [&'static str]| known.is_empty() || types.iter().any(|one| known.contains(one));
        let (first_name, second) = (first.name, other.name);
        if types.is_empty() || self.0.iter().map(|(known, _)| known).any(|known| taken(known)) {
            let Registration { pattern, group, .. } = other;
            return Err(InvalidHandlers::SameSubscription { first: first_name, second, pattern, group });
        }
        if first.options != other.options || !same_database(&self.0, &other) {
            let pattern = other.pattern;
            return Err(InvalidHandlers::DifferentOptions { first: first_name, second, pattern });
        }
        self.0.push((types, other.handler));
        Ok(())
    }

    fn into_handler_of(self, registration: Registration) -> Registration {
        if self.0.len() == 1 { registration } else { Registration { handler: Arc::new(self), ..registration } }
    }
}

/// One subscription has one inbox.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn same_database(handlers: &[(&'static [&'static str], Arc<dyn Dispatch>)], other: &Registration) -> bool {
    let Some(database) = other.handler.transactions_in().pop() else { return true };
    handlers.iter().flat_map(|(_, handler)| handler.transactions_in()).all(|another| another.is(&database))
}

#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
fn same_database(_: &[(&'static [&'static str], Arc<dyn Dispatch>)], _: &Registration) -> bool {
    true
}

impl Dispatch for ByType {
    fn dispatch(&self, context: Context, slot: &mut Slot) {
        let message = context.message();
        let said = message.event_type().as_str();
        if let Some((_, handler)) = self.0.iter().find(|(types, _)| types.contains(&said)) {
            return handler.dispatch(context, slot);
        }
        let known = self.0.iter().flat_map(|(types, _)| types.iter().copied()).collect::<Vec<_>>();
        let outcome = if is_another(message, &known) { Ok(()) } else { Err(Failure::reject(without_a_type())) };
        slot.set(std::future::ready(outcome));
    }

    fn needs(&self, needs: &mut Needs) {
        self.0.iter().for_each(|(_, handler)| handler.needs(needs));
    }
}

fn registration(entry: Entry<Arc<dyn Dispatch>>, default: &GroupName) -> Result<Registration, InvalidHandlers> {
    let Entry { name, pattern, options, layers, handler, .. } = entry;
    let wrong_name = |source| InvalidHandlers::Name { handler: name, source };
    let pattern = pattern.map_err(wrong_name)?;
    let group = options.group.clone().transpose().map_err(wrong_name)?.unwrap_or_else(|| default.clone());
    check(name, &options)?;
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    match (handler.transactions_in().len(), options.batching) {
        (0, _) | (1, None) => {}
        (_, Some(_)) => return Err(InvalidHandlers::TransactionOfABatch { handler: name }),
        _ => return Err(InvalidHandlers::ManyTransactions { handler: name }),
    }
    let handler = layers.around(handler);
    Ok(Registration {
        pattern,
        group,
        options,
        handler,
        name,
        #[cfg(any(feature = "postgres", feature = "sqlite"))]
        joined: None,
        backlog: None,
    })
}

fn check(handler: &'static str, options: &Options) -> Result<(), InvalidHandlers> {
    let wrong = |option: String, rule| Err(InvalidHandlers::Option { handler, option, rule });
    // As the settings of the same names are bounded.
    const MOST_AT_ONCE: usize = 1 << 20;
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    match options.concurrency {
        Some(0) => return wrong("`.concurrency(0)`".into(), "would handle nothing: at least 1"),
        Some(most) if most > MOST_AT_ONCE => return wrong(format!("`.concurrency({most})`"), "is no bound: at most 1,048,576"),
        _ => {}
    }
    if options.timeout == Some(Duration::ZERO) {
        return wrong("`.timeout(0)`".into(), "would cancel every attempt: more than nothing");
    }
    if let Some(timeout) = options.timeout.filter(|timeout| *timeout > LONGEST) {
        return wrong(format!("`.timeout({timeout:?})`"), "is no bound: at most 24 h");
    }
    const MOST_IN_A_BATCH: usize = 1 << 16;
    const LONGEST_GATHERING: Duration = Duration::from_secs(60);
    match options.batching {
        Some(Batching { max, .. }) if max == 0 || max > MOST_IN_A_BATCH => {
            return wrong(format!("`.on_batch({max}, …)`"), "is no batch: 1 to 65,536");
        }
        Some(Batching { wait, .. }) if wait > LONGEST_GATHERING => {
            return wrong(format!("`.on_batch(…, {wait:?}, …)`"), "keeps messages waiting for too long: at most 1 min");
        }
        _ => {}
    }
    if let Some((option, rule)) = options.retry.and_then(|retry| retry.mistake()) {
        return wrong(option, rule);
    }
    match (options.members, options.start) {
        (Some(Members::Each), Some(start)) => {
            wrong(format!("`.start({start:?})`"), "has no meaning with `.each_instance()`: every instance begins when it starts")
        }
        _ => Ok(()),
    }
}
