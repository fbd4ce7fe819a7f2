//! SIGTERM and SIGINT: the first asks the service to stop, the second ends the process.

use std::{io, time::Duration};

use tokio_util::task::AbortOnDropHandle;

/// The signals that ask a program to end.
pub(super) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals from now on.
    pub(super) fn listen() -> io::Result<Self> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
        }
        #[cfg(not(unix))]
        Ok(Self {})
    }

    /// Waits for the next signal.
    pub(super) async fn first(&mut self) {
        let name = self.next().await;
        tracing::info!(signal = name, "stopping");
    }

    #[cfg(unix)]
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    #[cfg(not(unix))]
    async fn next(&mut self) -> &'static str {
        // Without a console there is nobody to ask for the end.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "ctrl-c"
    }

    /// Ends the process at the next signal, for as long as the answer is kept.
    pub(super) fn end_at_the_next(mut self) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            let name = self.next().await;
            tracing::warn!(signal = name, "a second signal: ended without draining");
            end();
        }))
    }
}

/// Ends the process soon, unless `main` comes to its end before: the runtime would wait for ever for a handler that computes on.
#[expect(clippy::exit, reason = "nothing else ends it")]
pub(super) fn end_in_spite_of_what_hangs(all_well: bool) {
    const GRACE: Duration = Duration::from_secs(1);
    std::thread::spawn(move || {
        std::thread::sleep(GRACE);
        tracing::error!("what hangs is left behind: the process ends");
        std::process::exit(i32::from(!all_well))
    });
}

#[expect(clippy::exit, reason = "who signals twice wants the end now")]
fn end() {
    /// What a shell reports for a program that SIGINT ended.
    const INTERRUPTED: i32 = 130;
    std::process::exit(INTERRUPTED)
}
