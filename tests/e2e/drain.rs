//! SIGTERM under load: what is in hand finishes or goes back, and the exit is clean.

use crate::support::{Client, Ground, LATER, Running, SOON, alone, among_others, user};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tidings_testing::servers::{Nats, eventually};
use tokio::task::JoinSet;
use users::proto::User;

/// The default of `--drain`.
const DRAIN: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing_on_sqlite() {
    let _turn = alone().await;
    sigterm_loses_nothing(&Ground::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing_on_jetstream() {
    let _turn = alone().await;
    let Some(nats) = Nats::with_jetstream().await else { return };
    sigterm_loses_nothing(&Ground::on(&nats.jetstream_url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_while_the_broker_is_away_ends_in_order() {
    let _turn = among_others().await;
    let (Some(mut core), Some(mut jetstream)) = (Nats::start().await, Nats::with_jetstream().await) else { return };
    for (url, nats) in [(core.url(), &mut core), (jetstream.jetstream_url(), &mut jetstream)] {
        let ground = Ground::on(&url);
        let (mut users, mut email) = (ground.users(&[]).await, ground.email(&[]).await);
        nats.kill();
        eventually(SOON, async || email.metric("tidings_broker_up{", "").await == 0.0).await;
        ends_in_order(&mut email).await;
        ends_in_order(&mut users).await;
    }
}

async fn sigterm_loses_nothing(ground: &Ground) {
    let (mut users, mut email) = (ground.users(&[]).await, ground.email(&[]).await);
    let (creators, created) = create_until_refused(&users.client());
    eventually(LATER, async || created.load(Ordering::Relaxed) >= 100).await;

    ends_in_order(&mut email).await;
    let before = created.load(Ordering::Relaxed);
    eventually(LATER, async || created.load(Ordering::Relaxed) >= before + 50).await;
    ends_in_order(&mut users).await;
    let acknowledged: Vec<User> = creators.join_all().await.into_iter().flatten().collect();

    email.process.restart();
    users.process.restart();
    email.ready().await;
    users.ready().await;
    ground.mails().reach(&acknowledged, LATER).await;
    ground.mails().reach_all_stored(&mut users.client(), SOON).await;
}

async fn ends_in_order(service: &mut Running) {
    let begin = Instant::now();
    service.process.terminate();
    let status = service.process.exit(DRAIN).await;
    assert!(status.success(), "{status} after {:?}", begin.elapsed());
}

/// Eight callers without a pause, until the service answers no more.
fn create_until_refused(client: &Client) -> (JoinSet<Vec<User>>, Arc<AtomicUsize>) {
    let (next, created) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (mut client, next, created) = (client.clone(), next.clone(), created.clone());
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            while let Ok(response) = client.create(user(next.fetch_add(1, Ordering::Relaxed))).await {
                acknowledged.extend(response.into_inner().user);
                created.fetch_add(1, Ordering::Relaxed);
            }
            acknowledged
        });
    }
    (tasks, created)
}
