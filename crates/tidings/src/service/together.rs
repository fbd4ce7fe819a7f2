//! Several services in one process: one command line, one log, one signal handler.

use std::{
    ffi::OsString,
    process::exit,
    sync::{Arc, atomic::Ordering},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use super::{
    Builder, Service,
    builder::Given,
    run::{self, Running},
    signal,
};
use crate::{
    Result,
    settings::{NoFlags, Resolved, Spec, parse, read, resolve},
    telemetry,
};

/// Reads the settings of all and begins logging.
pub(super) fn init<const N: usize>(mut builders: [Builder; N]) -> Result<[Service; N]> {
    let specs: Vec<Spec> = builders.iter().map(|builder| builder.spec().clone()).collect();
    let given = builders.iter_mut().fold(Given::default(), |all, builder| {
        let Given { arguments, matches, environment } = std::mem::take(&mut builder.given);
        Given {
            arguments: all.arguments.or(arguments),
            matches: all.matches.or(matches),
            environment: all.environment.or(environment),
        }
    });
    let Resolved { settings, of_no_use } = resolved(&specs, given)?;
    if let Some(first) = settings.first() {
        telemetry::init(first)?;
    }
    if !of_no_use.is_empty() {
        tracing::warn!("of no use here, and ignored: {}", of_no_use.join(", "));
    }
    let mut settings = settings.into_iter();
    let mut services = Vec::with_capacity(N);
    for (builder, settings) in builders.into_iter().zip(&mut settings) {
        services.push(Service::new(builder, settings)?);
    }
    services.try_into().map_err(|_| "as many services as builders".into())
}

fn resolved(specs: &[Spec], given: Given) -> Result<Resolved> {
    let flags = match given.matches {
        Some(matches) => read(specs, &matches),
        None => match parse(specs, given.arguments.unwrap_or_else(|| std::env::args_os().collect())) {
            Ok(flags) => flags,
            Err(NoFlags::Wrong(error)) => return Err(error.into()),
            Err(NoFlags::Asked(text)) => print_and_end(&text),
        },
    };
    let environment: Vec<(OsString, OsString)> = given.environment.unwrap_or_else(|| std::env::vars_os().collect());
    Ok(resolve(specs, flags, environment)?)
}

#[expect(clippy::exit, reason = "what --help and --version are for")]
fn print_and_end(text: &clap::Error) -> ! {
    // Nobody is left to tell when the terminal is gone.
    let _ = text.print();
    exit(0)
}

impl Service {
    /// Reads the settings of several services that share this process, as [`Builder::init`] does of one.
    ///
    /// A setting goes to each service that has it; `--users.broker`, `TIDINGS_USERS_BROKER`, and `broker` under `[users]` in the
    /// file go to that one. What would be wrong for all but one (`--name`, `--id`, `--database`, an `--admin` whose port is not
    /// 0) has to name its service. They run by [`run_together`].
    ///
    /// # Errors
    /// As [`Builder::init`].
    pub fn init_together<const N: usize>(builders: [Builder; N]) -> Result<[Self; N]> {
        init(builders)
    }
}

/// Runs services in one process until SIGTERM or SIGINT, then drains all of them at once, each within its own `--drain`; a second
/// signal ends the process at once. Where a handler computes on and cannot be cancelled, the process ends a second after the drain,
/// whatever `main` does then.
///
/// ```no_run
/// use tidings::{Service, run_together};
///
/// #[tokio::main]
/// async fn main() -> tidings::Result<()> {
///     let [users, email] = Service::init_together([
///         Service::builder("users", "1.0.0"),
///         Service::builder("email", "1.0.0"),
///     ])?;
///     run_together([users, email]).await
/// }
/// ```
///
/// # Errors
/// When one does not start, or ends by itself: the others are drained first.
///
/// # Cancel safety
/// Dropping it stops the services without draining them.
pub async fn run_together<const N: usize>(services: [Service; N]) -> Result<()> {
    let mut signals = signal::Signals::listen()?;
    let (mut running, mut failure) = (Vec::with_capacity(N), None);
    let mut starting: FuturesUnordered<_> = services.into_iter().map(Service::start).collect();
    let signalled = loop {
        tokio::select! {
            () = signals.first() => break true,
            started = starting.next() => match started {
                Some(Ok(one)) => running.push(one),
                Some(Err(error)) => drop(failure.get_or_insert(error)),
                None => break false,
            }
        }
    };
    drop(starting);
    if failure.is_none() && !signalled {
        tokio::select! {
            () = signals.first() => {}
            error = run::first_failure(&mut running) => failure = Some(error),
        }
    }
    let second = signals.end_at_the_next();
    let hung: Vec<_> = running.iter().map(|one| Arc::clone(&one.drain.hung)).collect();
    for stopped in futures_util::future::join_all(running.into_iter().map(Running::stop)).await {
        if let Err(error) = stopped {
            failure.get_or_insert(error);
        }
    }
    drop(second);
    if hung.iter().any(|hung| hung.load(Ordering::Relaxed)) {
        signal::end_in_spite_of_what_hangs(failure.is_none());
    }
    failure.map_or(Ok(()), Err)
}
