//! Messages before, during and after a break: that it is told, what was taken, what came, how often, and how long nothing did.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_core::{Broker, Fetched, Health, Outcome};
use tokio::task::JoinHandle;

use super::{
    engine::Place,
    ledger::Ledger,
    reader::{DEADLINE, Reader, message, publish, subscribe, within},
};

/// What was in hand around the moment of a break and may come again: no more than a second's settlements, which the other side may
/// have heard of and not written down.
const NEAR: Duration = Duration::from_secs(1);

/// Looks until it is so.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Health tells up from down within this.
const TOLD: Duration = Duration::from_secs(2);

/// Health tells that it is down, in time.
pub(super) async fn told_down(broker: &dyn Broker) {
    let broken = Instant::now();
    until(|| matches!(broker.health(), Health::Down(_))).await;
    assert!(broken.elapsed() <= TOLD, "it took {:?} to tell that it is down", broken.elapsed());
}

/// A broker and its subscriber that have carried a message.
pub(super) struct Carried {
    pub(super) broker: Arc<dyn Broker>,
    reader: Reader,
}

impl Carried {
    pub(super) async fn at(place: &Place, url: &str) -> Self {
        let broker = place.open_at(url).await;
        let mut reader = subscribe(&*broker, "g", "t").await;
        publish(&*broker, &[message("t", "before")]).await;
        assert_eq!(reader.read(1).await, ["before"]);
        assert_eq!(broker.health(), Health::Up);
        Self { broker, reader }
    }

    /// It is whole again from now on, and goes on by itself.
    pub(super) async fn goes_on(self, place: &Place) {
        let (Self { broker, mut reader }, healed) = (self, Instant::now());
        until(|| broker.health() == Health::Up).await;
        publish(&*broker, &[message("t", "after")]).await;
        let mut came = Ledger::default();
        while !came.has("after") {
            came.note_bodies(reader.read(1).await);
        }
        place.figures().back(healed.elapsed());
        // That the first one was settled may not have arrived, or not have been written down.
        came.note_bodies(["before".to_owned()]);
        came.check(place, &["before".to_owned(), "after".to_owned()], 1);
        within(broker.close()).await.unwrap();
    }
}

/// A publisher and a subscriber, each with a broker of its own, until so many messages were taken and all of those came.
pub(super) struct Flow {
    publisher: Arc<dyn Broker>,
    /// The bodies of all that was taken, when that is over.
    publishing: JoinHandle<Vec<String>>,
    reader: Reader,
    came: Ledger,
    /// When messages came, and how many.
    arrivals: Vec<(Instant, usize)>,
    breaks: Vec<Instant>,
    healed: Option<Instant>,
    /// The longest that it took after it was healed until a message came.
    back: Option<Duration>,
}

impl Flow {
    pub(super) async fn start(place: &Place, url: &str, count: usize) -> Self {
        let (publisher, other) = (place.open_at(url).await, place.open_at(url).await);
        let reader = subscribe(&*other, "g", "t").await;
        let publishing = tokio::spawn(publish_until(Arc::clone(&publisher), count));
        let (came, arrivals, breaks) = (Ledger::default(), Vec::new(), Vec::new());
        Self { publisher, publishing, reader, came, arrivals, breaks, healed: None, back: None }
    }

    /// Something breaks now.
    pub(super) fn broke(&mut self) {
        self.breaks.push(Instant::now());
    }

    /// It is whole again now.
    pub(super) fn healed(&mut self) {
        self.healed = Some(Instant::now());
    }

    /// Waits until the publisher tells that it is down.
    pub(super) fn until_down(&self) -> impl Future<Output = ()> + use<> {
        let publisher = Arc::clone(&self.publisher);
        async move { until(|| matches!(publisher.health(), Health::Down(_))).await }
    }

    /// Handles what comes until so many different messages came.
    pub(super) async fn until_came(&mut self, count: usize) {
        while self.came.different() < count {
            self.next().await;
        }
    }

    /// Handles what comes until all that was taken is there, and no more came again than the breaks explain.
    pub(super) async fn ends(mut self, place: &Place) {
        while !self.publishing.is_finished() {
            self.next().await;
        }
        let taken = within(&mut self.publishing).await.unwrap();
        while taken.iter().any(|body| !self.came.has(body)) {
            self.next().await;
        }
        let near = |at: Instant| self.breaks.iter().any(|broke| at + NEAR > *broke && at < *broke + NEAR);
        let explained = self.arrivals.iter().filter(|(at, _)| near(*at)).map(|(_, count)| count).sum();
        if let Some(back) = self.back {
            place.figures().back(back);
        }
        self.came.told(place, explained);
    }

    async fn next(&mut self) {
        // A look now and then whether the publisher is at its end: what was taken may all be here.
        let next = tokio::time::timeout(LOOK, within(self.reader.fetch.fetch(64))).await;
        let Ok(Ok(Fetched::Deliveries(next))) = next else { return self.is_not_stuck() };
        // What cannot be settled now comes again.
        let batch: Vec<_> = next.iter().map(|delivery| (delivery.receipt, Outcome::Ack)).collect();
        let _settled = within(self.reader.settle.settle(&batch)).await;
        self.came.note(&next);
        self.arrivals.push((Instant::now(), next.len()));
        if let Some(healed) = self.healed.take() {
            self.back = self.back.max(Some(healed.elapsed()));
        }
    }

    fn is_not_stuck(&self) {
        let last = self.arrivals.last().map_or(Duration::ZERO, |(at, _)| at.elapsed());
        assert!(last < DEADLINE, "nothing came for {last:?}");
    }
}

/// Publishes new messages until `count` were taken; the bodies of those that were. None is published twice.
async fn publish_until(broker: Arc<dyn Broker>, count: usize) -> Vec<String> {
    let (mut taken, mut next) = (Vec::new(), 0);
    while taken.len() < count {
        let batch: Vec<_> = (next..next + 50).map(|n| message("t", &n.to_string())).collect();
        next += batch.len();
        let failed: BTreeSet<_> = match within(broker.publish(&batch)).await {
            Ok(()) => BTreeSet::new(),
            Err(failures) => failures.into_failed().into_iter().map(|(place, _)| place).collect(),
        };
        let survived = batch.iter().enumerate().filter(|(place, _)| !failed.contains(place));
        taken.extend(survived.map(|(_, message)| String::from_utf8_lossy(message.body()).into_owned()));
        if !failed.is_empty() {
            until(|| broker.health() == Health::Up).await;
        }
    }
    taken
}

/// How often the publisher is looked at while nothing comes.
const LOOK: Duration = Duration::from_millis(500);
