//! When the relay looks for rows: soon after a publish in this process, seldom when nothing happens. Pure; no clock.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;

/// Told by a publish in this process, whose transaction is still open then: sqlx has no hook after a commit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hot(Arc<Notify>);

impl Hot {
    /// A row was written and may be committed at any moment.
    pub(crate) fn mark(&self) {
        self.0.notify_one();
    }

    pub(super) async fn marked(&self) {
        self.0.notified().await;
    }
}

/// The waits between looks.
#[derive(Debug)]
pub(super) struct Pace {
    wait: Duration,
    hot: bool,
    idle: bool,
}

impl Pace {
    const HOT_FIRST: Duration = Duration::from_millis(1);
    const HOT_LAST: Duration = Duration::from_millis(200);
    const IDLE_FIRST: Duration = Duration::from_millis(200);
    const IDLE_LAST: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self { wait: Duration::ZERO, hot: false, idle: false }
    }

    /// How long until the next look.
    pub(super) fn wait(&self) -> Duration {
        self.wait
    }

    /// Whether the last look found nothing, and nothing was written since.
    pub(super) fn is_idle(&self) -> bool {
        self.idle
    }

    /// A row was written in this process.
    pub(super) fn marked(&mut self) {
        (self.hot, self.idle, self.wait) = (true, false, Self::HOT_FIRST);
    }

    /// A look found as many rows as it may take: there are more.
    pub(super) fn found_more(&mut self) {
        (self.idle, self.wait) = (false, Duration::ZERO);
    }

    /// A look found some rows, and they were all.
    pub(super) fn found_all(&mut self) {
        // Another transaction may be as hot as this one was.
        self.marked();
    }

    /// A look found nothing.
    pub(super) fn found_none(&mut self) {
        self.idle = true;
        let doubled = self.wait * 2;
        if self.hot && doubled <= Self::HOT_LAST {
            self.wait = doubled.max(Self::HOT_FIRST);
        } else {
            self.hot = false;
            self.wait = doubled.clamp(Self::IDLE_FIRST, Self::IDLE_LAST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_publish_it_looks_soon_and_then_ever_less_often() {
        let mut pace = Pace::new();
        pace.marked();
        let waits: Vec<_> = std::iter::repeat_with(|| {
            let wait = pace.wait().as_millis();
            pace.found_none();
            wait
        })
        .take(13)
        .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000, 1000, 1000]);
    }

    #[test]
    fn it_goes_on_at_once_while_rows_remain() {
        let mut pace = Pace::new();
        pace.found_none();
        pace.found_more();
        assert_eq!(pace.wait(), Duration::ZERO);
    }
}
