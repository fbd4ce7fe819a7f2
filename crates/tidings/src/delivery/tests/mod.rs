//! The loop over the real in-process broker, and over one that does what a test says.

/// A handler that shares what it names with its test: a closure that captures must be called many times.
macro_rules! handler {
    ([$($shared:ident),*] |$($argument:tt : $kind:ty),*| $body:block) => {
        move |$($argument: $kind),*| {
            $(let $shared = $shared.clone();)*
            async move $body
        }
    };
}

mod backlog;
mod drain;
#[cfg(feature = "sqlite")]
mod durable;
mod failures;
mod order;
mod outcomes;
mod rig;
mod scripted;
mod suspects;

pub(super) use rig::broker;
