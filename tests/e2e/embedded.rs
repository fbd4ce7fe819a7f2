//! On SQLite alone: one process for everything, and a process for each service.

use crate::support::{Ground, LATER, SOON, among_others, create_all};

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_one_sqlite_file() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    let (users, _email) = (ground.users(&[]).await, ground.email(&[]).await);
    let created = create_all(&users.client(), 0..30).await;
    ground.mails().reach(&created, SOON).await;
    ground.mails().reach_all_stored(&mut users.client(), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_the_email_service_ever_ran_is_mailed_when_it_does() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    let mut users = ground.users(&[]).await;
    let created = create_all(&users.client(), 0..10).await;
    users.process.terminate();
    assert!(users.process.exit(SOON).await.success());
    let _email = ground.email(&[]).await;
    // Also what was still in the outbox: the next start of users brings it.
    users.process.restart();
    users.ready().await;
    ground.mails().reach(&created, LATER).await;
}
