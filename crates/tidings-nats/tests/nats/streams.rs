//! The streams and consumers of `jetstream://`: made, checked, and shared with others.

use std::time::Duration;

use crate::common::{Reader, SOON, bodies, each, message, numbered, open, to, try_open};
use serde_json::{Value, json};
use tidings_core::Health;
use tidings_testing::servers::{Nats, eventually};

/// Speaks JetStream's own API, as an operator's tools do.
pub(crate) async fn api(nats: &Nats, call: &str, question: Value) -> Value {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let question = if question.is_null() { Vec::new() } else { serde_json::to_vec(&question).unwrap() };
    let answer = client.request(format!("$JS.API.{call}"), question.into()).await.unwrap();
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn config(nats: &Nats, stream: &str) -> Value {
    api(nats, &format!("STREAM.INFO.{stream}"), Value::Null).await["config"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_are_made_as_documented() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&[message("user.created", "1"), message("order", "2")]).await.unwrap();
    let main = config(&nats, "TIDINGS").await;
    let day = 24 * 3600 * 1_000_000_000_u64;
    for (name, value) in [
        ("retention", json!("limits")),
        ("discard", json!("new")),
        ("max_age", json!(7 * day)),
        ("max_bytes", json!(1 << 30)),
        ("num_replicas", json!(1)),
        ("storage", json!("file")),
    ] {
        assert_eq!(main[name], value, "{name}");
    }
    let subjects = main["subjects"].as_array().unwrap();
    for subject in ["user.>", "order", "order.>"] {
        assert!(subjects.contains(&json!(subject)), "{subjects:?}");
    }
    assert!(!subjects.contains(&json!("user")), "{subjects:?}");
    let letters = config(&nats, "TIDINGS-LETTERS").await;
    assert_eq!((&letters["subjects"], &letters["max_age"]), (&json!(["dead.>", "again.>"]), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_is_made_as_documented() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let _reader = Reader::new(&broker, to("mail", "user.created")).await;
    let consumer = api(&nats, "CONSUMER.INFO.TIDINGS.mail=user=created", Value::Null).await["config"].take();
    for (name, value) in [
        ("ack_policy", json!("explicit")),
        ("ack_wait", json!(10_000_000_000_u64)),
        ("max_deliver", json!(-1)),
        ("max_ack_pending", json!(65_536)),
        ("deliver_policy", json!("all")),
        ("filter_subject", json!("user.created")),
    ] {
        assert_eq!(consumer[name], value, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings_are_refused_by_name() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    open(&format!("{}/OTHER?max_age=1h&max_bytes=1MiB&letters_max_bytes=1MiB", nats.jetstream_url())).await;
    let error = try_open(&format!("{}/OTHER?letters_max_bytes=1MiB", nats.jetstream_url())).await.err().unwrap();
    assert!(!error.is_transient());
    let error = error.to_string();
    for part in ["OTHER", "`max_age` is 1h, not 7d", "`max_bytes` is 1MiB, not 1GiB"] {
        assert!(error.contains(part), "{error}");
    }
    // As it is there, it is taken.
    open(&format!("{}/OTHER?max_age=1h&max_bytes=1MiB&letters_max_bytes=1MiB", nats.jetstream_url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_with_other_settings_is_refused() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("user.created", 1)).await.unwrap();
    let config = json!({"durable_name": "mail=user=created", "ack_policy": "explicit", "max_ack_pending": 5, "filter_subject": "user.created"});
    let question = json!({"stream_name": "TIDINGS", "config": config});
    api(&nats, "CONSUMER.DURABLE.CREATE.TIDINGS.mail=user=created", question).await;
    let error = broker.subscribe(to("mail", "user.created")).await.err().unwrap().to_string();
    assert!(error.contains("mail=user=created") && error.contains("`max_ack_pending` is 5, not 65536"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_that_vanish_are_added_again() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    broker.publish(&numbered("user.created", 1)).await.unwrap();
    let mut config = config(&nats, "TIDINGS").await;
    config["subjects"] = json!(["somebody.elses"]);
    config["description"] = json!("theirs");
    api(&nats, "STREAM.UPDATE.TIDINGS", config).await;
    broker.publish(&numbered("user.created", 10)).await.unwrap();
    let after = self::config(&nats, "TIDINGS").await;
    assert_eq!(after["subjects"], json!(["somebody.elses", "user.>"]));
    // What somebody else set stays.
    assert_eq!(after["description"], json!("theirs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_add_their_subjects_at_once() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let url = nats.jetstream_url();
    let publishers = (0..8).map(|number| {
        let url = url.clone();
        tokio::spawn(async move {
            let broker = open(&url).await;
            broker.publish(&numbered(&format!("service{number}.x"), 10)).await.unwrap();
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let broker = open(&url).await;
    assert_eq!(Reader::new(&broker, to("all", ">")).await.handle(80).await.len(), 80);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_of_another_stream_is_refused_by_name() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    open(&format!("{}/FIRST?letters_max_bytes=1MiB", nats.jetstream_url()))
        .await
        .publish(&numbered("user.created", 1))
        .await
        .unwrap();
    // Its dead letters would overlap already.
    let error = try_open(&format!("{}/SECOND", nats.jetstream_url())).await.err().unwrap().to_string();
    assert!(error.contains("SECOND-LETTERS"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_consumer_of_a_group_ends_the_subscription() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    reader.assert_nothing(Duration::from_millis(50)).await;
    api(&nats, "CONSUMER.DELETE.TIDINGS.mail=a=b", Value::Null).await;
    let error = tokio::time::timeout(SOON, reader.fetch.fetch(1)).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("mail=a=b") && error.contains("deleted"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_consumer_of_an_instance_is_made_again_where_it_was_and_ends_with_it() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&nats.jetstream_url()).await;
    let mut reader = Reader::new(&broker, each("a.b")).await;
    broker.publish(&[message("a.b", "1")]).await.unwrap();
    reader.handle(1).await;
    let name = api(&nats, "CONSUMER.NAMES.TIDINGS", Value::Null).await["consumers"][0].as_str().unwrap().to_owned();
    api(&nats, &format!("CONSUMER.DELETE.TIDINGS.{name}"), Value::Null).await;
    broker.publish(&[message("a.b", "2"), message("a.b", "3")]).await.unwrap();
    assert_eq!(bodies(&reader.handle(2).await), ["2", "3"]);
    reader.close().await;
    assert!(api(&nats, "CONSUMER.NAMES.TIDINGS", Value::Null).await["consumers"].as_array().is_none_or(Vec::is_empty));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_fills_up_is_told() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&format!("{}?max_bytes=100KiB", nats.jetstream_url())).await;
    assert_eq!(broker.health(), Health::Up);
    broker.publish(&[message("a.b", vec![0; 90_000])]).await.unwrap();
    let told = eventually(SOON, async || if let Health::Warning(told) = broker.health() { Some(told) } else { None }).await;
    assert!(told.contains("TIDINGS") && told.contains("% full"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_jetstream_is_refused() {
    let Some(nats) = Nats::start().await else { return };
    let error = try_open(&nats.jetstream_url()).await.err().unwrap();
    assert!(!error.is_transient() && error.to_string().contains("JetStream"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_was_away_for_too_long_is_told() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&format!("{}?max_age=1s&duplicates=1s", nats.jetstream_url())).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    broker.publish(&numbered("a.b", 3)).await.unwrap();
    reader.handle(3).await;
    reader.close().await;
    broker.publish(&numbered("a.b", 5)).await.unwrap();
    eventually(SOON, async || api(&nats, "STREAM.INFO.TIDINGS", Value::Null).await["state"]["messages"] == 0).await;
    let _reader = Reader::new(&broker, to("mail", "a.b")).await;
    assert!(broker.counters().contains(&("expired", 5)), "{:?}", broker.counters());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_raised_stops_nobody() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    let broker = open(&format!("{}?max_bytes=1MiB", nats.jetstream_url())).await;
    let mut config = config(&nats, "TIDINGS").await;
    config["max_bytes"] = json!(2 << 20);
    api(&nats, "STREAM.UPDATE.TIDINGS", config).await;
    broker.publish(&numbered("new.word", 1)).await.unwrap();
    assert!(try_open(&format!("{}?max_bytes=1MiB", nats.jetstream_url())).await.is_err());
}
