//! Who gets what: groups, their instances, patterns.

use tokio::task::JoinSet;

use super::prelude::*;

pub(super) async fn every_group_gets_everything(place: Place) {
    let broker = place.open().await;
    let mut readers = Vec::new();
    for group in ["a", "b", "c"] {
        readers.push(subscribe(&*broker, group, "t").await);
    }
    publish(&*broker, &numbered("t", 100)).await;
    for reader in &mut readers {
        assert_eq!(reader.read(100).await, numbers(0, 100));
    }
}

pub(super) async fn the_instances_of_a_group_share(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut readers = [subscribe(&*one, "g", "t").await, subscribe(&*other, "g", "t").await];
    publish(&*one, &numbered("t", 100)).await;
    let mut came = Vec::new();
    let mut shares = [0, 0];
    let mut more = true;
    while more && came.len() < 100 {
        more = false;
        for (reader, share) in readers.iter_mut().zip(&mut shares) {
            // A fetch may find nothing left: the other one had it.
            if let Ok(deliveries) = tokio::time::timeout(Duration::from_secs(2), reader.next(10)).await {
                more = true;
                *share += deliveries.len();
                reader.end(&deliveries, Outcome::Ack).await;
                came.extend(bodies(&deliveries));
            }
        }
    }
    assert_eq!((as_set(&came).len(), came.len()), (100, 100));
    assert!(shares.iter().all(|share| *share >= 10), "{shares:?}");
}

pub(super) async fn a_pattern_gets_its_topics_and_no_others(place: Place) {
    let broker = place.open().await;
    // One topic is there before the subscriptions, the others come later.
    publish(&*broker, &[message("user.created", "before")]).await;
    let all = ["user.created", "user.address.changed", "order.created", "user", "userx.created"];
    let patterns = [
        ("user.created", &[0][..]),
        ("user.*", &[0]),
        ("user.>", &[0, 1]),
        ("*.created", &[0, 2, 4]),
        (">", &[0, 1, 2, 3, 4]),
        ("dead.>", &[5]),
        ("again.g.user.*", &[6]),
    ];
    let mut readers = Vec::new();
    for (n, (pattern, _)) in patterns.iter().enumerate() {
        readers.push(subscribe(&*broker, &format!("g{n}"), pattern).await);
    }
    let mut batch: Vec<_> = all.iter().enumerate().map(|(n, topic)| message(topic, &n.to_string())).collect();
    let (group, topic) = (GroupName::new("g").unwrap(), Topic::new("user.created").unwrap());
    batch.push(message("t", "5").into_builder().topic(Topic::dead(&group, &topic)).build());
    batch.push(message("t", "6").into_builder().topic(Topic::again(&group, &topic)).build());
    publish(&*broker, &batch).await;
    for (reader, (pattern, expected)) in readers.iter_mut().zip(patterns) {
        let expected: Vec<_> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(reader.read(expected.len()).await, expected, "{pattern}");
    }
    for (reader, (pattern, _)) in readers.iter_mut().zip(patterns).take(5) {
        let topic = if pattern == "user.created" { pattern.to_owned() } else { pattern.replace(['*', '>'], "created") };
        // Others get it too, after what they were shown to have read.
        let last = message(&topic, &topic);
        publish(&*broker, std::slice::from_ref(&last)).await;
        loop {
            let next = reader.take(1).await;
            reader.end(&next, Outcome::Ack).await;
            if next[0].message == last {
                break;
            }
            assert!(next[0].message.body().len() > 1, "{pattern}: {next:?}");
        }
    }
}

pub(super) async fn many_topics_at_once(place: Place) {
    const SUBSCRIPTIONS: usize = 20;
    const TOPICS: usize = 150;
    let broker = place.open().await;
    let mut everything = subscribe(&*broker, "all", ">").await;
    let mut made = JoinSet::new();
    for n in 0..SUBSCRIPTIONS {
        let broker = Arc::clone(&broker);
        made.spawn(async move { (n, subscribe(&*broker, "one", &format!("t.{n}")).await) });
    }
    let mut readers = within(made.join_all()).await;
    let batch: Vec<_> = (0..2 * TOPICS).map(|n| message(&format!("t.{}", n % TOPICS), &n.to_string())).collect();
    publish(&*broker, &batch).await;
    assert_eq!(everything.read(2 * TOPICS).await, numbers(0, 2 * TOPICS));
    for (n, reader) in &mut readers {
        assert_eq!(reader.read(2).await, [*n, *n + TOPICS].map(|n| n.to_string()));
    }
    let closed: JoinSet<_> = readers.into_iter().map(|(_, reader)| reader.close()).collect();
    within(closed.join_all()).await;
}

pub(super) async fn the_patterns_of_a_group_are_apart(place: Place) {
    let broker = place.open().await;
    let mut readers = [subscribe(&*broker, "g", "t").await, subscribe(&*broker, "g", "*").await];
    publish(&*broker, &numbered("t", 10)).await;
    for reader in &mut readers {
        assert_eq!(reader.read(10).await, numbers(0, 10));
    }
}

pub(super) async fn each_instance_gets_everything_and_leaves_nothing_behind(place: Place) {
    let broker = place.open().await;
    let each = || Subscription { members: Members::Each, start: None, ..subscription("g", "t") };
    publish(&*broker, &[message("t", "before")]).await;
    let mut readers = [subscribe_with(&*broker, each()).await, subscribe_with(&*place.open().await, each()).await];
    publish(&*broker, &numbered("t", 10)).await;
    for reader in &mut readers {
        assert_eq!(bodies(&reader.take(10).await), numbers(0, 10));
    }
    for reader in readers {
        reader.close().await;
    }
    publish(&*broker, &[message("t", "while nobody is there")]).await;
    let mut later = subscribe_with(&*broker, each()).await;
    later.is_drained(&*broker, "t").await;
}

pub(super) async fn an_instance_comes_and_one_goes_while_messages_flow(place: Place) {
    const COUNT: usize = 300;
    let broker = place.open().await;
    let mut first = subscribe(&*broker, "g", "t").await;
    let publisher = Arc::clone(&broker);
    let publishing = tokio::spawn(async move {
        for batch in numbered("t", COUNT).chunks(5) {
            publish(&*publisher, batch).await;
        }
    });
    let mut came = first.read(50).await;
    let other = place.open().await;
    let mut second = subscribe(&*other, "g", "t").await;
    came.extend(first.read(50).await);
    came.extend(second.read(1).await);
    // It leaves with messages in hand.
    let _unsettled = first.next(20).await;
    first.close().await;
    while came.len() < COUNT {
        let next = second.next(64).await;
        second.end(&next, Outcome::Ack).await;
        came.extend(bodies(&next));
    }
    publishing.await.unwrap();
    assert_eq!((as_set(&came).len(), came.len()), (COUNT, COUNT));
    second.is_drained(&*broker, "t").await;
}

pub(super) async fn a_group_takes_over_from_an_instance_that_died(place: Place) {
    let (one, other) = (place.open().await, place.open().await);
    let mut dying = subscribe(&*one, "g", "t").await;
    let mut living = subscribe(&*other, "g", "t").await;
    publish(&*one, &numbered("t", 40)).await;
    let mut came = Ledger::default();
    let held = dying.take(10).await;
    dying.end(&held[..5], Outcome::Ack).await;
    came.note(&held[..5]);
    publish(&*one, &[message("t", "40")]).await;
    // A drop is a crash: nobody is told.
    drop(dying);
    while came.different() < 41 {
        let next = living.next(64).await;
        living.end(&next, Outcome::Ack).await;
        came.note(&next);
    }
    living.is_drained(&*other, "t").await;
    came.check(&place, &numbers(0, 41), 0);
}
