//! The loop over a broker that keeps messages in a file: what outlives the process.

use std::sync::Arc;

use tempfile::TempDir;
use tidings_core::{Broker, Client, Message, url::Url};

use super::rig::{Rig, Seen, body, message};
use crate::{Failure, Handler, Handlers, Retry};

async fn open(folder: &TempDir) -> Arc<dyn Broker> {
    let url: Url = format!("sqlite:{}/broker.db", folder.path().display()).parse().unwrap();
    tidings_sql::open(&url, &Client { service: "test".into(), instance: "1".into() }).await.unwrap()
}

/// Tells what it handles, a little later.
fn tells(seen: &Seen<String>) -> Handlers {
    let seen = seen.clone();
    Handlers::new().on_topic(
        "t",
        handler!([seen] |message: Message| {
            tokio::task::yield_now().await;
            seen.push(body(&message));
        }),
    )
}

fn numbered(count: usize, key: impl Fn(usize) -> String) -> Vec<Message> {
    (0..count).map(|n| message(&key(n), &n.to_string())).collect()
}

#[tokio::test]
async fn what_was_published_before_the_group_came_is_handled_once_and_not_again_after_a_restart() {
    let folder = TempDir::new().unwrap();
    let broker = open(&folder).await;
    broker.publish(&numbered(300, |_| String::new())).await.unwrap();
    let (first, second) = (Seen::new(), Seen::new());
    let rig = Rig::new(broker.clone()).start(tells(&first)).await;
    first.count(300).await;
    rig.stop().await.unwrap();
    broker.close().await.unwrap();

    let broker = open(&folder).await;
    let rig = Rig::new(broker.clone()).start(tells(&second)).await;
    broker.publish(&[message("", "after")]).await.unwrap();
    assert_eq!(second.count(1).await, ["after"]);
    rig.stop().await.unwrap();
    broker.close().await.unwrap();
    assert_eq!((first.all().len(), second.all().len()), (300, 1));
}

#[tokio::test]
async fn a_dead_letter_is_kept_beside_its_event_and_brought_to_who_asks() {
    let folder = TempDir::new().unwrap();
    let (broker, letters) = (open(&folder).await, Seen::new());
    let saw = letters.clone();
    let fails = async |_: Message| Err::<(), _>(Failure::from("no"));
    let watches = handler!([saw] |letter: Message| { saw.push(letter) });
    let handlers = Handlers::new().on_topic("t", fails.retry(Retry::never())).on_topic("dead.>", watches.group("watch"));
    let rig = Rig::new(broker.clone()).start(handlers).await;
    let original = message("k", "hello");
    rig.publish(std::slice::from_ref(&original)).await;
    let letter = letters.count(1).await.remove(0);
    assert_eq!(letter.topic().as_str(), "dead.g.t");
    assert_eq!((letter.id(), letter.body(), letter.key()), (original.id(), original.body(), original.key()));
    assert_eq!(letter.headers().get("tidings-error"), Some("no"));
    rig.stop().await.unwrap();
}
