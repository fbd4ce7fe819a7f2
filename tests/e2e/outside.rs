//! What somebody sees and can send who shares no code with Tidings: a NATS client made by hand.

use crate::support::{Ground, RawMessage, RawNats, Running, SOON, among_others, create_all};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tidings_testing::servers::{Nats, eventually};
use users::proto::User;

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_sees_a_cloudevents_message() {
    let _turn = among_others().await;
    let Some(nats) = Nats::start().await else { return };
    let (user, message) = what_an_outsider_sees(&nats, &nats.url()).await;

    assert_eq!(message.header("ce-specversion"), Some("1.0"));
    assert_eq!(message.header("ce-type"), Some("user.created"));
    assert_eq!(message.header("ce-source"), Some("/users"));
    assert_eq!(message.header("ce-datacontenttype"), Some("application/json"));
    assert_eq!(message.header("ce-partitionkey"), Some(user.id.as_str()));
    assert_eq!(message.header("ce-id").map(str::len), Some(36));
    assert!(message.header("ce-time").is_some_and(|time| time.ends_with('Z')), "{:?}", message.headers);
    assert_eq!(serde_json::from_slice::<Value>(&message.body).unwrap(), body(&user));
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_carries_the_same_message_with_an_identity_for_the_engine() {
    let _turn = among_others().await;
    let Some(nats) = Nats::with_jetstream().await else { return };
    let (user, message) = what_an_outsider_sees(&nats, &nats.jetstream_url()).await;
    let id = message.header("ce-id").unwrap();
    assert_eq!(message.header("Nats-Msg-Id"), Some(format!("/users {id}").as_str()), "{:?}", message.headers);
    assert_eq!(serde_json::from_slice::<Value>(&message.body).unwrap(), body(&user));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_wire_carries_the_body_alone() {
    let _turn = among_others().await;
    let Some(nats) = Nats::start().await else { return };
    let (user, message) = what_an_outsider_sees(&nats, &format!("{}?wire=bare", nats.url())).await;
    assert!(message.headers.is_empty(), "{:?}", message.headers);
    assert_eq!(serde_json::from_slice::<Value>(&message.body).unwrap(), body(&user));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_micro_wire_is_what_its_plug_in_sends() {
    let _turn = among_others().await;
    let Some(nats) = Nats::start().await else { return };
    let (user, message) = what_an_outsider_sees(&nats, &format!("{}?wire=go-micro", nats.url())).await;

    assert!(message.headers.is_empty(), "{:?}", message.headers);
    let envelope: BTreeMap<String, Value> = serde_json::from_slice(&message.body).unwrap();
    assert_eq!(envelope.keys().collect::<Vec<_>>(), ["Body", "Header"]);
    let bytes = STANDARD.decode(envelope["Body"].as_str().unwrap()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), body(&user));

    let mut header: BTreeMap<String, String> = serde_json::from_value(envelope["Header"].clone()).unwrap();
    let id = header.remove("ce-id").unwrap();
    assert!(header.remove("traceparent").is_none_or(|trace| trace.len() == 55));
    let expected = [
        ("Content-Type", "application/json"),
        ("Micro-ID", &id),
        ("Micro-Id", &id),
        ("Micro-Topic", "user.created"),
        ("ce-partitionkey", &user.id),
        ("ce-source", "/users"),
        ("id", &user.id),
    ];
    assert_eq!(header, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_can_have_a_user_mailed_in_every_form_of_cloudevents() {
    let _turn = among_others().await;
    let Some(nats) = Nats::start().await else { return };
    let ground = Ground::on(&nats.url());
    let email = ground.email(&[]).await;
    let mut outsider = RawNats::connect(&nats.address()).await;

    outsider.publish("user.created", &to_bytes(&body(&outsiders_user("plain")))).await;
    let attributes = [("ce-specversion", "1.0"), ("ce-id", "7"), ("ce-source", "/elsewhere"), ("ce-type", "user.created")];
    outsider.publish_with("user.created", &attributes, &to_bytes(&body(&outsiders_user("binary")))).await;
    let structured = json!({
        "specversion": "1.0", "id": "8", "source": "/elsewhere", "type": "user.created",
        "datacontenttype": "application/json", "data": body(&outsiders_user("structured")),
    });
    outsider.publish("user.created", &to_bytes(&structured)).await;

    all_are_mailed(&ground, &["plain", "binary", "structured"]).await;
    a_second_event_mails_nobody_again(&email, &mut outsider).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_go_micro_service_can_have_a_user_mailed_in_json_and_in_protobuf() {
    let _turn = among_others().await;
    let Some(nats) = Nats::start().await else { return };
    let ground = Ground::on(&format!("{}?wire=go-micro", nats.url()));
    let _email = ground.email(&[]).await;
    let mut outsider = RawNats::connect(&nats.address()).await;

    let json = envelope(&json!({"Content-Type": "application/json", "Micro-Id": "1"}), &to_bytes(&body(&outsiders_user("json"))));
    outsider.publish("user.created", &json).await;
    let bare = envelope(&Value::Null, &to_bytes(&body(&outsiders_user("headerless"))));
    outsider.publish("user.created", &bare).await;
    let message = prost::Message::encode_to_vec(&outsiders_user("protobuf"));
    let protobuf = envelope(&json!({"Content-Type": "application/protobuf", "Micro-Id": "1"}), &message);
    outsider.publish("user.created", &protobuf).await;
    let framed = [&[0, 0, 0, 0, u8::try_from(prost::Message::encoded_len(&outsiders_user("framed"))).unwrap()][..]].concat();
    let framed = [framed, prost::Message::encode_to_vec(&outsiders_user("framed"))].concat();
    outsider.publish("user.created", &envelope(&json!({"Content-Type": "application/grpc+proto"}), &framed)).await;

    all_are_mailed(&ground, &["json", "headerless", "protobuf", "framed"]).await;
}

async fn what_an_outsider_sees(nats: &Nats, broker: &str) -> (User, RawMessage) {
    let mut outsider = RawNats::connect(&nats.address()).await;
    outsider.subscribe("user.created").await;
    let users = Ground::on(broker).users(&[]).await;
    let user = create_all(&users.client(), 0..1).await.remove(0);
    let message = outsider.next().await;
    assert_eq!(message.subject, "user.created");
    (user, message)
}

/// What `user.created` says of a user, on every wire.
fn body(user: &User) -> Value {
    json!({"id": user.id, "name": user.name, "company": user.company, "email": user.email})
}

fn outsiders_user(id: &str) -> User {
    User {
        id: id.to_owned(),
        name: format!("Outsider {id}"),
        company: "Elsewhere".to_owned(),
        email: format!("{id}@example.com"),
        password: String::new(),
    }
}

fn envelope(header: &Value, body: &[u8]) -> Vec<u8> {
    to_bytes(&json!({"Header": header, "Body": STANDARD.encode(body)}))
}

fn to_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

async fn all_are_mailed(ground: &Ground, ids: &[&str]) {
    let users: Vec<User> = ids.iter().map(|id| outsiders_user(id)).collect();
    ground.mails().reach(&users, SOON).await;
}

async fn a_second_event_mails_nobody_again(email: &Running, outsider: &mut RawNats) {
    let handled = async || email.metric("tidings_messages_handled_total", "").await;
    let before = handled().await;
    outsider.publish("user.created", &to_bytes(&body(&outsiders_user("plain")))).await;
    eventually(SOON, async || handled().await > before).await;
    assert_eq!(email.mails_sent().get("plain"), Some(&1));
}
