//! What is ready and what is not, told by the parts themselves and read by the admin port and gRPC health.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::watch;

/// The state of every part of a service.
#[derive(Debug, Clone)]
pub(crate) struct Readiness(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Mutex<BTreeMap<String, State>>,
    ready: watch::Sender<bool>,
}

/// How a part is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It works.
    Up,
    /// It works, or others need not wait for it, but an operator should know.
    Noted(String),
    /// The service is not ready because of it.
    Down(String),
}

impl Readiness {
    /// Nothing is there yet.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { parts: Mutex::default(), ready: watch::Sender::new(false) }))
    }

    /// A part by its name; a new one is down until it says otherwise.
    pub(crate) fn part(&self, name: impl Into<String>) -> Part {
        let part = Part { readiness: self.clone(), name: name.into() };
        if !self.parts().contains_key(&part.name) {
            part.set(State::Down("starting".into()));
        }
        part
    }

    /// Every part by name, and how it is.
    pub(crate) fn parts(&self) -> BTreeMap<String, State> {
        self.0.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether no part is down; watchable.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.0.ready.subscribe()
    }
}

/// The handle by which one part says how it is.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    readiness: Readiness,
    name: String,
}

impl Part {
    /// It is so from now on.
    pub(crate) fn set(&self, state: State) {
        let inner = &self.readiness.0;
        let mut parts = inner.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.insert(self.name.clone(), state);
        let ready = !parts.values().any(|state| matches!(state, State::Down(_)));
        inner.ready.send_if_modified(|now| std::mem::replace(now, ready) != ready);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_part_that_is_down_makes_the_service_not_ready() {
        let readiness = Readiness::new();
        let (database, broker) = (readiness.part("database"), readiness.part("broker"));
        database.set(State::Up);
        assert!(!*readiness.ready().borrow());
        broker.set(State::Noted("nearly full".into()));
        assert!(*readiness.ready().borrow());
        broker.set(State::Down("connection refused".into()));
        assert!(!*readiness.ready().borrow());
        assert_eq!(readiness.parts()["broker"], State::Down("connection refused".into()));
    }
}
