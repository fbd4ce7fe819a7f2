//! Waiting for a condition, with a deadline in place of a sleep.

use std::panic::Location;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What a probe of [`eventually`] may answer: `bool`, or `Option` of what was waited for.
pub trait Probe {
    /// What `eventually` returns.
    type Value;

    /// `None`: not yet.
    fn value(self) -> Option<Self::Value>;
}

impl Probe for bool {
    type Value = ();

    fn value(self) -> Option<()> {
        self.then_some(())
    }
}

impl<T> Probe for Option<T> {
    type Value = T;

    fn value(self) -> Option<T> {
        self
    }
}

/// Asks `probe` again and again until it answers `true` or `Some`, and returns what it found.
///
/// ```no_run
/// # async fn test(folder: &std::path::Path) {
/// # use std::time::Duration;
/// use tidings_testing::servers::eventually;
///
/// eventually(Duration::from_secs(5), async || folder.join("mail.eml").exists()).await;
/// # }
/// ```
///
/// # Panics
/// When `within` has passed; the message names the caller's line.
#[track_caller]
pub fn eventually<P: Probe>(within: Duration, mut probe: impl AsyncFnMut() -> P) -> impl Future<Output = P::Value> {
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + within;
        let mut pause = Duration::from_millis(2);
        loop {
            if let Some(value) = probe().await.value() {
                return value;
            }
            assert!(Instant::now() < deadline, "what is waited for at {caller} was not so within {within:?}");
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_comes_true_later_is_waited_for() {
        let mut asked = 0;
        let found = eventually(Duration::from_secs(5), async || {
            asked += 1;
            (asked == 3).then_some("here")
        })
        .await;
        assert_eq!(found, "here");
    }

    #[tokio::test]
    #[should_panic(expected = "wait.rs")]
    async fn what_never_comes_true_fails_and_names_the_line() {
        eventually(Duration::from_millis(20), async || false).await;
    }
}
