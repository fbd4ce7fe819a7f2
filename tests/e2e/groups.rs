//! Who gets an event: every group all of them, the instances of one group each their share.

use crate::support::{Ground, LATER, Running, SOON, among_others, create_all, program, program_of};
use std::collections::BTreeMap;
use std::fs;
use tidings_testing::servers::{Nats, eventually};

/// Services of one program, under names of their own: to the others and to the broker they are as different as any, for a name is a
/// group. Two more run beside them that are other programs: `email`, and `audit`, which subscribes to a pattern and reads no type.
const GREETERS: [&str; 10] =
    ["billing", "crm", "export", "fraud", "greeter", "invites", "loyalty", "newsletter", "quotas", "search"];

#[tokio::test(flavor = "multi_thread")]
async fn twelve_services_act_on_one_event_and_the_users_program_stays_the_same() {
    let _turn = among_others().await;
    twelve_services_act_on_one_event(&Ground::embedded()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twelve_services_act_on_one_event_on_jetstream() {
    let _turn = among_others().await;
    let Some(nats) = Nats::with_jetstream().await else { return };
    twelve_services_act_on_one_event(&Ground::on(&nats.jetstream_url())).await;
}

async fn twelve_services_act_on_one_event(ground: &Ground) {
    let users = ground.users(&[]).await;
    let before = (users.process.id(), fs::read(program("users")).unwrap());
    let subscribers = twelve_subscribers(ground).await;
    let created = create_all(&users.client(), 0..1).await;

    ground.mails().reach(&created, SOON).await;
    for subscriber in &subscribers {
        eventually(SOON, async || handled(subscriber).await == 1.0).await;
    }
    assert!((users.process.id(), fs::read(program("users")).unwrap()) == before, "users was changed or started again");
}

async fn twelve_subscribers(ground: &Ground) -> Vec<Running> {
    let (greeter, audit) = (program_of("examples", "first-service"), program_of("examples", "audit"));
    let mut subscribers = vec![ground.email(&[]).await, ground.service("audit", &audit, &[]).await];
    for name in GREETERS {
        subscribers.push(ground.service(name, &greeter, &["--name", name]).await);
    }
    assert_eq!(subscribers.len(), 12);
    subscribers
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_on_the_shared_sqlite_file_share_the_mails() {
    let _turn = among_others().await;
    let ground = Ground::embedded();
    three_instances_share_the_mails(&ground).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_on_jetstream_share_the_mails() {
    let _turn = among_others().await;
    let Some(nats) = Nats::with_jetstream().await else { return };
    three_instances_share_the_mails(&Ground::on(&nats.jetstream_url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_instances_on_nats_core_share_the_mails() {
    let _turn = among_others().await;
    let Some(nats) = Nats::start().await else { return };
    three_instances_share_the_mails(&Ground::on(&nats.url())).await;
}

async fn three_instances_share_the_mails(ground: &Ground) {
    let emails = [ground.email(&[]).await, ground.email(&[]).await, ground.email(&[]).await];
    let users = ground.users(&[]).await;
    let created = create_all(&users.client(), 0..150).await;
    ground.mails().reach(&created, LATER).await;

    // A mail is there a moment before its line in the log is.
    let sent = || emails.iter().map(Running::mails_sent).collect::<Vec<_>>();
    let lines = |sent: &[BTreeMap<String, usize>]| sent.iter().flat_map(BTreeMap::values).sum::<usize>();
    eventually(SOON, async || lines(&sent()) >= created.len()).await;
    let sent = sent();
    for user in &created {
        let times: usize = sent.iter().filter_map(|sent| sent.get(&user.id)).sum();
        assert_eq!(times, 1, "mails for user {}", user.id);
    }
    for (instance, sent) in sent.iter().enumerate() {
        assert!(!sent.is_empty(), "instance {instance} did nothing: {:?}", sent.len());
    }
}

async fn handled(service: &Running) -> f64 {
    // A topic or a pattern, as the service subscribed.
    service.metric("tidings_messages_handled_total", "\"user.").await
}
