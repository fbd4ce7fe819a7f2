//! Waiting for what is absent, with back-off, and saying so.

use std::{error::Error, time::Duration};

use tokio::time::{Instant, sleep};

use crate::{
    error::chain,
    readiness::{Part, State},
};

/// Pauses between tries, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Tries until it works, fails for good, or `wait` has passed; the log and `/readyz` say what is waited for, and why.
pub(super) async fn patiently<T, E: Error + 'static, F: Future<Output = Result<T, E>>>(
    wait: Duration,
    part: &Part,
    what: &str,
    mut attempt: impl FnMut() -> F,
    may_pass: impl Fn(&E) -> bool,
) -> Result<T, E> {
    let begun = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match attempt().await {
            Err(error) if may_pass(&error) && begun.elapsed() < wait => error,
            done => return done,
        };
        say_absent(part, what, &error);
        sleep(pause.min(wait.saturating_sub(begun.elapsed()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Says in the log and on `/readyz` that something is waited for, and why.
pub(super) fn say_absent(part: &Part, what: &str, error: &(dyn Error + 'static)) {
    let why = chain(error);
    tracing::warn!("waiting for the {what}: {why}");
    part.set(State::Down(format!("waiting for it: {why}")));
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::readiness::Readiness;

    async fn after(failures: usize, wait: Duration) -> (usize, io::Result<()>) {
        let part = Readiness::new().part("it");
        let mut tries = 0;
        let attempt = || {
            tries += 1;
            std::future::ready(if tries <= failures { Err(io::Error::other(format!("try {tries}"))) } else { Ok(()) })
        };
        let done = patiently(wait, &part, "it", attempt, |error| error.to_string() != "try 7").await;
        (tries, done)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_absent_is_tried_until_it_is_there_or_the_wait_is_over() {
        let second = Duration::from_secs(1);
        assert!(matches!(after(2, second).await, (3, Ok(()))));
        assert!(matches!(after(100, Duration::ZERO).await, (1, Err(_))));
        assert!(matches!(after(100, second).await, (5, Err(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_not_waited_for() {
        assert!(matches!(after(100, Duration::from_secs(100)).await, (7, Err(_))));
    }
}
