//! Messages before, during and after a break: that it is told, what was taken, what came, how often, and how long nothing did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_core::{Broker, Fetched, Health, Outcome};
use tokio::task::JoinHandle;

use super::{
    engine::Place,
    ledger::Ledger,
    reader::{DEADLINE, Reader, body, message, publish, subscribe, within},
};

/// How long a settlement is on its way: a broken link may lose it.
pub(super) const ON_ITS_WAY: Duration = Duration::from_millis(250);
/// How old a settlement may be that a killed server has not written down: any. One nats-server 2.9 in some twenty was seen to know of
/// none at all when it was started again.
pub(super) const UNWRITTEN: Duration = Duration::from_secs(3_600);
/// How long after a break such is settled as was delivered before it, of which the other side may know nothing more.
const DELIVERED_BEFORE: Duration = Duration::from_millis(500);
/// What a lease kept away comes so soon after its end.
pub(super) const SOON: Duration = Duration::from_secs(2);

/// Looks until it is so.
pub(super) async fn until(mut is_so: impl FnMut() -> bool) {
    within(async {
        while !is_so() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
}

const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Health tells up from down within this.
const TOLD: Duration = Duration::from_secs(2);

/// Health tells that it is down, in time.
pub(super) async fn told_down(broker: &dyn Broker) {
    let broken = Instant::now();
    until(|| matches!(broker.health(), Health::Down(_))).await;
    assert!(broken.elapsed() <= TOLD, "it took {:?} to tell that it is down", broken.elapsed());
}

/// Health tells that it is up, in time after it is.
async fn told_up(broker: &dyn Broker) {
    within(async {
        while broker.publish(&[message("nobodys", "")]).await.is_err() {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
    .await;
    let works = Instant::now();
    until(|| broker.health() == Health::Up).await;
    assert!(works.elapsed() <= TOLD, "it took {:?} to tell that it is up", works.elapsed());
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
        told_up(&*broker).await;
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

/// When things broke.
#[derive(Default)]
pub(super) struct Breaks(Vec<Break>);

struct Break {
    /// How old a settlement may be that it loses.
    loses: Duration,
    broke: Instant,
    healed: Option<Instant>,
}

/// A message that was handled, and when that was settled.
#[derive(Clone)]
pub(super) struct Handled {
    pub(super) body: String,
    /// When the settlement began; `None`: it could not be sent.
    pub(super) settled: Option<Instant>,
}

impl Breaks {
    /// Something breaks now, and loses settlements that are no older than that.
    pub(super) fn broke(&mut self, loses: Duration) {
        self.0.push(Break { loses, broke: Instant::now(), healed: None });
    }

    /// It is whole again now.
    pub(super) fn healed(&mut self) {
        if let Some(last) = self.0.last_mut() {
            last.healed = Some(Instant::now());
        }
    }

    /// Whether a settlement of that time may have been lost.
    fn may_lose(&self, settled: Instant) -> bool {
        self.0.iter().any(|Break { loses, broke, healed }| {
            let after = DELIVERED_BEFORE.min(*loses);
            settled + *loses > *broke && healed.is_none_or(|healed| settled < healed + after)
        })
    }

    /// What came again may have: its settlement was not sent, or may have been lost; and no break had it come twice. Answers how many
    /// messages might have come again.
    pub(super) fn explain(&self, handled: &[Handled]) -> usize {
        let mut known = BTreeMap::<&str, Vec<Option<Instant>>>::new();
        for Handled { body, settled } in handled {
            known.entry(body).or_default().push(*settled);
        }
        let may_come = |settled: &Option<Instant>| settled.is_none_or(|settled| self.may_lose(settled));
        for (body, settled) in &known {
            assert!(settled.len() <= self.0.len() + 1, "{body} came {} times, and things broke {}", settled.len(), self.0.len());
        }
        let again = known.values().flat_map(|settled| settled.split_last().map_or(&[][..], |(_, before)| before));
        let lost: Vec<_> = again.filter(|settled| !may_come(settled)).flatten().map(|settled| self.far(*settled)).collect();
        assert!(
            lost.is_empty(),
            "{} came again that were settled up to {:?} before or after a break",
            lost.len(),
            lost.iter().max()
        );
        known.values().filter(|settled| may_come(&settled[0])).count()
    }

    /// How far from the next break that is.
    fn far(&self, settled: Instant) -> Duration {
        let far = |Break { broke, healed, .. }: &Break| {
            let after = settled.saturating_duration_since(healed.unwrap_or(*broke));
            after.max(broke.saturating_duration_since(settled))
        };
        self.0.iter().map(far).min().unwrap_or(Duration::MAX)
    }
}

/// A publisher and a subscriber, each with a broker of its own, until so many messages were taken and all of those came.
pub(super) struct Flow {
    brokers: [Arc<dyn Broker>; 2],
    /// The bodies of all that was taken, when that is over.
    publishing: JoinHandle<Vec<String>>,
    reader: Reader,
    came: Ledger,
    handled: Vec<Handled>,
    breaks: Breaks,
    /// When a message came last, or it was made.
    arrived: Instant,
    healed: Option<Instant>,
    /// The longest that it took after it was healed until a message came.
    back: Option<Duration>,
}

impl Flow {
    pub(super) async fn start(place: &Place, url: &str, count: usize) -> Self {
        let brokers = [place.open_at(url).await, place.open_at(url).await];
        let reader = subscribe(&*brokers[1], "g", "t").await;
        let publishing = tokio::spawn(publish_until(Arc::clone(&brokers[0]), count));
        let (came, handled, breaks, arrived) = (Ledger::default(), Vec::new(), Breaks::default(), Instant::now());
        Self { brokers, publishing, reader, came, handled, breaks, arrived, healed: None, back: None }
    }

    /// Something breaks now, and loses settlements that are no older than that.
    pub(super) fn broke(&mut self, loses: Duration) {
        self.breaks.broke(loses);
    }

    /// It is whole again now.
    pub(super) fn healed(&mut self) {
        self.breaks.healed();
        self.healed = Some(Instant::now());
    }

    /// Waits until both ends tell that they are down.
    pub(super) fn until_down(&self) -> impl Future<Output = ()> + use<> {
        let brokers = self.brokers.clone();
        async move { until(|| brokers.iter().all(|broker| matches!(broker.health(), Health::Down(_)))).await }
    }

    /// Handles what comes until so many different messages came.
    pub(super) async fn until_came(&mut self, count: usize) {
        while self.came.different() < count {
            self.next().await;
        }
    }

    /// Handles what comes until all that was taken is there and nothing more is to come, and no more came again than the breaks
    /// explain.
    pub(super) async fn ends(mut self, place: &Place) {
        while !self.publishing.is_finished() {
            self.next().await;
        }
        let taken = within(&mut self.publishing).await.unwrap();
        while taken.iter().any(|body| !self.came.has(body)) {
            self.next().await;
        }
        // What the other side did not hear of comes when its lease has ended.
        let (complete, late) = (Instant::now(), self.reader.settle.lease().unwrap_or_default() + SOON);
        while complete.elapsed() < late {
            self.next().await;
        }
        if let Some(back) = self.back {
            place.figures().back(back);
        }
        self.came.told(place, self.breaks.explain(&self.handled));
    }

    async fn next(&mut self) {
        // A look now and then whether the publisher is at its end: what was taken may all be here.
        let next = tokio::time::timeout(LOOK, within(self.reader.fetch.fetch(64))).await;
        let Ok(Ok(Fetched::Deliveries(next))) = next else { return self.is_not_stuck() };
        // What cannot be settled now comes again.
        let batch: Vec<_> = next.iter().map(|delivery| (delivery.receipt, Outcome::Ack)).collect();
        let begun = Instant::now();
        let settled = within(self.reader.settle.settle(&batch)).await.ok().map(|()| begun);
        self.came.note(&next);
        self.handled.extend(next.iter().map(|delivery| Handled { body: body(delivery), settled }));
        self.arrived = Instant::now();
        if let Some(healed) = self.healed.take() {
            self.back = self.back.max(Some(healed.elapsed()));
        }
    }

    fn is_not_stuck(&self) {
        let last = self.arrived.elapsed();
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
