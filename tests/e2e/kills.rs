//! The user-service is killed at random moments, also between its commit and the publishing.

use crate::support::{Client, Ground, LATER, Running, among_others, user};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tidings_testing::servers::{Nats, Postgres};
use tokio::task::JoinSet;
use tonic::Code;
use users::proto::User;

const USERS: usize = 1000;
const AT_ONCE: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_create_loses_its_mail_to_kills_on_sqlite() {
    let _turn = among_others().await;
    kills_lose_no_mail(&Ground::embedded(), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_create_loses_its_mail_to_kills_on_postgres_and_jetstream() {
    let _turn = among_others().await;
    let (Some(nats), Some(postgres)) = (Nats::with_jetstream().await, Postgres::shared().await) else { return };
    let database = postgres.database().await;
    kills_lose_no_mail(&Ground::on(&nats.jetstream_url()), &["--database", &database]).await;
}

async fn kills_lose_no_mail(ground: &Ground, flags: &[&str]) {
    let _email = ground.email(&[]).await;
    let mut users = ground.users(flags).await;
    let creators = Creators::start(&users.client());
    let kills = kill_until_done(&mut users, &creators).await;
    assert!(kills >= 5, "only {kills} kills met the load");

    let acknowledged = creators.acknowledged().await;
    ground.mails().reach(&acknowledged, LATER).await;
    ground.mails().reach_all_stored(&mut users.client(), LATER).await;
}

async fn kill_until_done(users: &mut Running, creators: &Creators) -> usize {
    let random = RandomState::new();
    let mut kills = 0;
    while !creators.are_done() {
        // The moment is the test: anywhere in the work on the next few dozen creates.
        let goal = creators.created() + 20 + usize::try_from(random.hash_one(kills) % 80).unwrap();
        let met = tokio::time::timeout(LATER, creators.reach(goal)).await;
        assert!(met.is_ok(), "creating stands still at {} users", creators.created());
        tokio::time::sleep(Duration::from_micros(random.hash_one((kills, "pause")) % 20_000)).await;
        if !creators.are_done() {
            users.kill_and_restart().await;
            kills += 1;
        }
    }
    kills
}

/// Tasks that create users, each call again until it is answered.
struct Creators {
    tasks: JoinSet<Vec<User>>,
    created: Arc<AtomicUsize>,
}

impl Creators {
    fn start(client: &Client) -> Self {
        let (next, created) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (mut client, next, created) = (client.clone(), next.clone(), created.clone());
            tasks.spawn(async move {
                let mut acknowledged = Vec::new();
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= USERS {
                        return acknowledged;
                    }
                    acknowledged.extend(create(&mut client, n).await);
                    created.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { tasks, created }
    }

    fn created(&self) -> usize {
        self.created.load(Ordering::Relaxed)
    }

    fn are_done(&self) -> bool {
        self.created() >= USERS
    }

    async fn reach(&self, goal: usize) {
        while self.created() < goal.min(USERS) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn acknowledged(self) -> Vec<User> {
        self.tasks.join_all().await.into_iter().flatten().collect()
    }
}

/// The user, when the service acknowledged it; `None` when it was stored by a call whose answer the kill took.
async fn create(client: &mut Client, n: usize) -> Option<User> {
    loop {
        match client.create(user(n)).await {
            Ok(response) => return response.into_inner().user,
            Err(status) if status.code() == Code::AlreadyExists => return None,
            // The service is away: the connection was cut, or refused.
            Err(status) => {
                assert!(matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled), "{status:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
