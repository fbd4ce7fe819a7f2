//! The loop over a broker that keeps messages in a file: what outlives the process, and what several instances share.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tempfile::TempDir;
use tidings_core::{Broker, Client, Message, url::Url};

use super::rig::{Rig, Seen, body, message};
use crate::{Failure, Handler, Handlers, Meta, Order, Retry};

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
async fn a_key_keeps_its_order_through_failures_across_the_instances_of_a_group() {
    let folder = TempDir::new().unwrap();
    let seen = Seen::new();
    let handlers = || {
        let seen = seen.clone();
        let handler = handler!([seen] |message: Message, meta: Meta| {
            tokio::task::yield_now().await;
            let number: usize = body(&message).parse().unwrap();
            if number.is_multiple_of(10) && meta.attempt() == 1 {
                return Err(Failure::from("not yet"));
            }
            seen.push((meta.key().unwrap().to_string(), number));
            Ok(())
        });
        Handlers::new().on_topic("t", handler.order(Order::Group))
    };
    let (one, two) = (open(&folder).await, open(&folder).await);
    let rigs = (Rig::new(one.clone()).start(handlers()).await, Rig::new(two.clone()).start(handlers()).await);
    one.publish(&numbered(300, |n| format!("k{}", n % 7))).await.unwrap();
    let mut of_key = HashMap::<String, Vec<usize>>::new();
    for (key, number) in seen.count(300).await {
        of_key.entry(key).or_default().push(number);
    }
    assert!(of_key.values().all(|numbers| numbers.is_sorted()), "{of_key:?}");
    rigs.0.stop().await.unwrap();
    rigs.1.stop().await.unwrap();
    assert_eq!(seen.all().len(), 300);
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

#[tokio::test]
async fn attempts_of_a_message_that_waits_at_the_broker_survive_the_instance() {
    let folder = TempDir::new().unwrap();
    let attempts = Seen::new();
    let handlers = || {
        let attempts = attempts.clone();
        let handler = handler!([attempts] |_: Message, meta: Meta| {
            attempts.push(meta.attempt());
            if meta.attempt() == 1 { Err(Failure::retry_after("later", Duration::from_millis(1100))) } else { Ok(()) }
        });
        Handlers::new().on_topic("t", handler)
    };
    let broker = open(&folder).await;
    let rig = Rig::new(broker.clone()).start(handlers()).await;
    rig.publish(&[message("", "")]).await;
    attempts.count(1).await;
    rig.stop().await.unwrap();
    broker.close().await.unwrap();

    let rig = Rig::new(open(&folder).await).start(handlers()).await;
    assert_eq!(attempts.count(2).await, [1, 2]);
    rig.stop().await.unwrap();
}
