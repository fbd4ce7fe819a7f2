//! What takes a million messages to show.

use crate::suite::victim::{Role, Victim};

use super::prelude::*;

pub(super) async fn memory_stays_flat_over_a_million_messages(place: Place) {
    const MOST: usize = 16 * 1024 * 1024;
    let (url, _server) = place.of_usual_size().await;
    // In a process of its own, for other cases use memory meanwhile.
    let mut flood = Victim::start_at(Role::Flood, &place, &url);
    let said = tokio::time::timeout(LONGEST, async { flood.says_within(LONGEST).await }).await.expect("it takes too long");
    let grown: usize = said.parse().expect("a number of bytes");
    assert!(grown < MOST, "{grown} bytes more than after the first tenth");
}

const LONGEST: Duration = Duration::from_secs(280);
