//! The broker is away while users are created.

use crate::support::{Ground, LATER, Running, SOON, alone, create_all};
use std::time::Duration;
use tidings_testing::servers::{Nats, eventually};
use users::proto::User;

#[tokio::test(flavor = "multi_thread")]
async fn all_hundred_mails_arrive_within_15_s_of_jetstream_coming_back() {
    let _turn = alone().await;
    let Some(mut nats) = Nats::with_jetstream().await else { return };
    let ground = Ground::on(&nats.jetstream_url());
    let (users, _email) = (ground.users(&[]).await, ground.email(&[]).await);
    let mut created = create_all(&users.client(), 0..1).await;
    ground.mails().reach(&created, SOON).await;

    nats.kill();
    created.extend(create_all(&users.client(), 1..101).await);
    nats.restart().await;
    ground.mails().reach(&created, Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nats_core_is_away_every_create_answers_and_nobody_is_mailed_twice() {
    let _turn = alone().await;
    let Some(mut nats) = Nats::start().await else { return };
    let ground = Ground::on(&nats.url());
    let (users, email) = (ground.users(&[]).await, ground.email(&[]).await);
    let first = create_all(&users.client(), 0..1).await;
    ground.mails().reach(&first, SOON).await;

    nats.kill();
    create_all(&users.client(), 1..101).await;
    eventually(SOON, async || outbox(&users).await >= 100.0).await;
    nats.restart().await;
    eventually(LATER, async || outbox(&users).await == 0.0).await;

    // The email-service is connected again too when it mails somebody new; all that was sent before came before it.
    let mut next = 101;
    eventually(LATER, async || {
        let newest = create_all(&users.client(), next..next + 1).await;
        next += 1;
        mailed(&ground, &newest[0]).await
    })
    .await;
    let sent = email.mails_sent();
    assert!(sent.values().all(|times| *times == 1), "mailed twice: {sent:?}");
}

async fn outbox(users: &Running) -> f64 {
    users.metric("tidings_outbox_pending", "").await
}

/// Whether this user has a mail within a second.
async fn mailed(ground: &Ground, user: &User) -> bool {
    let arrives = eventually(LATER, async || ground.mails().by_address().contains_key(&user.email));
    tokio::time::timeout(Duration::from_secs(1), arrives).await.is_ok()
}
