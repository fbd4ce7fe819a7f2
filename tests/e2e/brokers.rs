//! The same two programs on servers: NATS core and JetStream, with PostgreSQL.

use crate::support::{Ground, LATER, SOON, among_others, create_all};
use std::collections::BTreeSet;
use tidings_testing::servers::{Nats, Postgres, eventually};
use users::proto::User;

#[tokio::test(flavor = "multi_thread")]
async fn nats_core_and_postgres_carry_each_user_to_a_mail() {
    let _turn = among_others().await;
    let (Some(nats), Some(postgres)) = (Nats::start().await, Postgres::shared().await) else { return };
    each_user_is_mailed_once(&nats.url(), &postgres.database().await, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_and_postgres_carry_each_user_to_a_mail() {
    let _turn = among_others().await;
    let (Some(nats), Some(postgres)) = (Nats::with_jetstream().await, Postgres::shared().await) else { return };
    let of_email = postgres.database().await;
    let created = each_user_is_mailed_once(&nats.jetstream_url(), &postgres.database().await, &["--database", &of_email]).await;
    let ids: BTreeSet<String> = created.into_iter().map(|user| user.id).collect();
    // What is done is recorded after the mail.
    eventually(SOON, async || {
        let rows = postgres.sql(&of_email, "SELECT key FROM tidings_dedup WHERE scope = 'mailed' AND done_at IS NOT NULL").await;
        rows.lines().map(str::to_owned).collect::<BTreeSet<_>>() == ids
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_keeps_what_happened_before_the_email_service_was_ever_there() {
    let _turn = among_others().await;
    let Some(nats) = Nats::with_jetstream().await else { return };
    let ground = Ground::on(&nats.jetstream_url());
    let users = ground.users(&[]).await;
    let created = create_all(&users.client(), 0..10).await;
    let _email = ground.email(&[]).await;
    ground.mails().reach(&created, LATER).await;
}

async fn each_user_is_mailed_once(broker: &str, database: &str, flags_of_email: &[&str]) -> Vec<User> {
    let ground = Ground::on(broker);
    let _email = ground.email(flags_of_email).await;
    let users = ground.users(&["--database", database]).await;
    let created = create_all(&users.client(), 0..30).await;
    ground.mails().reach(&created, LATER).await;
    ground.mails().reach_all_stored(&mut users.client(), LATER).await;
    created
}
