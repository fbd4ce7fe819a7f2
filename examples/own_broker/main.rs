//! A broker plug-in of one's own: `--broker list:` is the one of `list.rs`.
//!
//! It shows what a plug-in owes: responsibility for what it took, groups that share, delivery again of what was not settled.
//! `cargo run -p examples --bin own-broker`

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod list;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tidings::{Event, Handlers, Service};
use tidings_core::Broker;

use list::Lists;

#[derive(Event, Serialize, Deserialize)]
#[event(topic = "greeted")]
struct Greeted {
    name: String,
}

async fn greet(greeted: Greeted) {
    println!("hello, {}", greeted.name);
}

#[tokio::main]
async fn main() -> tidings::Result<()> {
    let service = Service::builder("greeter", env!("CARGO_PKG_VERSION"))
        .scheme("list", async |_url, _client| Ok(Arc::new(Lists::default()) as Arc<dyn Broker>))
        .default("broker", "list:")
        .init()?;
    let publisher = service.publisher().await?;
    service
        .handlers(Handlers::new().on(greet))
        .task("greeting", async move {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                publisher.publish(&Greeted { name: "list".to_owned() }).await?;
            }
            #[expect(unreachable_code, reason = "says what an error is here")]
            Ok::<(), tidings::PublishError>(())
        })
        .run()
        .await
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tidings_core::{
        Delivery, Fetch, Fetched, GroupName, Members, Message, Outcome, Source, Subscription, Topic, TopicPattern,
    };

    use super::*;

    fn of(group: &str) -> Subscription {
        let (group, pattern) = (GroupName::new(group).unwrap(), TopicPattern::new("user.*").unwrap());
        Subscription { group, pattern, members: Members::Share, start: None, unsettled: 10 }
    }

    async fn next(fetch: &mut dyn Fetch) -> Vec<Delivery> {
        match fetch.fetch(10).await.unwrap() {
            Fetched::Deliveries(deliveries) => deliveries,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn each_group_gets_a_message_and_what_failed_or_was_not_settled_comes_again() {
        let lists = Lists::default();
        let (mut one, settle) = lists.subscribe(of("one")).await.unwrap();
        let (mut other, _) = lists.subscribe(of("other")).await.unwrap();
        let message = Message::builder(Topic::new("user.created").unwrap(), Source::new("/test").unwrap(), Bytes::new()).build();
        lists.publish(&[message]).await.unwrap();

        let first = next(&mut *one).await;
        settle.settle(&[(first[0].receipt, Outcome::Retry { after: Duration::ZERO, attempts: 1 })]).await.unwrap();
        assert_eq!(next(&mut *one).await[0].attempts, 1);
        assert_eq!(next(&mut *other).await.len(), 1);
        other.close().await.unwrap();
        let (mut later, _) = lists.subscribe(of("other")).await.unwrap();
        assert_eq!(next(&mut *later).await.len(), 1);
    }
}
