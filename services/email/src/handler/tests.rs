use std::{collections::BTreeSet, sync::Arc, time::Duration};

use prost::Message as _;
use tidings::database::{Database, DatabaseOptions};
use tidings::{Handler, Handlers, Message, Order, Retry, Source, Topic};
use tidings_testing::servers::{Smtp, eventually};
use tidings_testing::{TestService, faults::Faulty};

use super::*;
use crate::event::ProtoUser;
use crate::mailer::{Limits, sender};

const PATIENCE: Duration = Duration::from_secs(20);

async fn database() -> Database {
    Database::open("sqlite::memory:", &DatabaseOptions::default(), |_| {}).await.unwrap()
}

async fn service(mail: &str, database: &Database) -> TestService {
    TestService::start(handlers(mail, database).await).await.unwrap().within(PATIENCE)
}

/// The handler as the service has it, with shorter waits.
async fn handlers(mail: &str, database: &Database) -> Handlers {
    let from = sender("Tidings <welcome@localhost>").unwrap();
    let mailer = Mailer::open(mail, &from, Limits { timeout: PATIENCE, idle: 8 }).unwrap();
    let once = crate::once_for_a_user(database).await.unwrap();
    let state = Welcome::new(Templates::open(None).unwrap(), mailer, from);
    let retry = Retry::exponential(Duration::from_millis(5), Duration::from_millis(50)).for_at_most(Duration::from_secs(3600));
    Handlers::new().on(welcome.retry(retry).order(Order::None)).layer(once).with_state(state)
}

fn user(id: &str, email: &str) -> UserCreated {
    UserCreated { id: id.to_owned(), name: "Ада".to_owned(), company: String::new(), email: email.to_owned() }
}

fn raw(content_type: &'static str, body: impl Into<Vec<u8>>) -> Message {
    let body: Vec<u8> = body.into();
    let (topic, source) = (Topic::new("user.created").unwrap(), Source::new("/elsewhere").unwrap());
    Message::builder(topic, source, body.into()).content_type(content_type).build()
}

#[tokio::test]
async fn a_new_user_is_mailed_into_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(&format!("file:{}", folder.path().display()), &database().await).await;
    service.publish(&user("u-1", "ada@example.com")).await.unwrap();
    assert_eq!(service.handled::<UserCreated>().await.unwrap().id, "u-1");
    let mail = std::fs::read_to_string(folder.path().join("u-1.eml")).unwrap();
    assert!(mail.contains("Message-ID: <u-1@email>") && mail.contains("<ada@example.com>"), "{mail}");
}

#[tokio::test]
async fn one_user_is_mailed_once_in_whatever_form_and_however_often_the_event_comes() {
    let Some(server) = Smtp::start().await else { return };
    let service = service(&server.url(), &database().await).await;
    let proto = ProtoUser { id: "u-1".to_owned(), email: "ada@example.com".to_owned(), ..ProtoUser::default() };
    for _ in 0..5 {
        service.publish(&user("u-1", "ada@example.com")).await.unwrap();
        service.publish_message(&raw("application/protobuf", proto.encode_to_vec())).await.unwrap();
        service.publish_message(&raw("application/json", r#"{"id":"u-1","email":"ada@example.com"}"#)).await.unwrap();
    }
    service.publish(&user("u-2", "grace@example.com")).await.unwrap();
    for _ in 0..16 {
        service.handled::<UserCreated>().await.unwrap();
    }
    let mails = server.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails.iter().filter(|mail| mail.text.contains("<u-1@email>")).count(), 1);
}

#[tokio::test]
async fn each_user_is_mailed_once_by_way_of_a_broker_that_repeats_delays_and_forgets() {
    const USERS: usize = 30;
    let Some(server) = Smtp::start().await else { return };
    let handlers = handlers(&server.url(), &database().await).await;
    let short = Duration::from_millis(20);
    let service = TestService::start_on(handlers, |broker| {
        Arc::new(Faulty::around(broker).duplicates(0.4).delays(0.3, short).reorders(0.3).lost_settlements(0.3))
    });
    let service = service.await.unwrap().within(PATIENCE);
    for n in 0..USERS {
        service.publish(&user(&format!("u-{n}"), &format!("ada{n}@example.com"))).await.unwrap();
    }
    let mut handled = BTreeSet::new();
    while handled.len() < USERS {
        handled.insert(service.handled::<UserCreated>().await.unwrap().id);
    }
    assert_eq!(server.mails().len(), USERS);
}

#[tokio::test]
async fn a_user_who_was_mailed_before_a_restart_is_not_mailed_again() {
    let Some(server) = Smtp::start().await else { return };
    let database = database().await;
    for _ in 0..2 {
        let service = service(&server.url(), &database).await;
        service.publish(&user("u-1", "ada@example.com")).await.unwrap();
        service.handled::<UserCreated>().await.unwrap();
    }
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn a_refusal_for_good_is_a_dead_letter_at_once() {
    let Some(server) = Smtp::start().await else { return };
    let service = service(&server.url(), &database().await).await;
    service.publish(&user("u-1", "550.ada@example.com")).await.unwrap();
    let letter = service.dead_letter::<UserCreated>().await.unwrap();
    assert_eq!((letter.reason(), letter.attempts()), ("rejected", 1));
    assert_eq!(letter.error(), "the mail server refuses this mail for good: 550 5.0.0 <[recipient]>: told to refuse");
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again_until_the_mail_is_taken() {
    let Some(server) = Smtp::start().await else { return };
    let service = service(&server.url(), &database().await).await;
    service.publish(&user("u-1", "451x2.ada@example.com")).await.unwrap();
    service.handled::<UserCreated>().await.unwrap();
    assert_eq!((service.attempts::<UserCreated>().len(), server.mails().len()), (3, 1));
}

#[tokio::test]
async fn a_mail_waits_for_a_mail_server_that_is_away() {
    let Some(mut server) = Smtp::start().await else { return };
    let service = service(&server.url(), &database().await).await;
    server.kill();
    service.publish(&user("u-1", "ada@example.com")).await.unwrap();
    eventually(PATIENCE, async || !service.attempts::<UserCreated>().is_empty()).await;
    server.restart().await;
    service.handled::<UserCreated>().await.unwrap();
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn what_can_never_go_is_a_dead_letter_that_quotes_nothing_of_the_event() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(&format!("file:{}", folder.path().display()), &database().await).await;
    for (body, says) in [
        (&br#"{"id":"1","email":"hunter2, b@c"}"#[..], "the address is not one that mail can be sent to"),
        (br#"{"id":"1","email":"hunter2\n@b"}"#, "the address has a control character in it"),
        (br#"{"id":"hunter2"}"#, "missing field `email`"),
        (br#"{"id":"","email":"hunter2@b"}"#, "expected `id`"),
        (b"hunter2\xff", "malformed JSON"),
    ] {
        service.publish_message(&raw("application/json", body)).await.unwrap();
        let letter = service.dead_letter::<UserCreated>().await.unwrap();
        assert!(letter.error().contains(says), "{}", letter.error());
        assert!(!letter.error().contains("hunter2"), "{}", letter.error());
        assert_eq!(letter.attempts(), 1);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_full_database_does_not_mail_a_user_at_every_attempt() {
    let Some(server) = Smtp::start().await else { return };
    let database = database().await;
    let service = service(&server.url(), &database).await;
    let Database::Sqlite(pool) = &database else { unreachable!() };
    let full = "CREATE TRIGGER full BEFORE UPDATE ON tidings_dedup BEGIN SELECT RAISE(ABORT, 'disk is full'); END";
    sqlx::raw_sql(full).execute(pool).await.unwrap();
    service.publish(&user("u-1", "ada@example.com")).await.unwrap();
    eventually(PATIENCE, async || service.attempts::<UserCreated>().len() >= 3).await;
    sqlx::raw_sql("DROP TRIGGER full").execute(pool).await.unwrap();
    service.handled::<UserCreated>().await.unwrap();
    assert_eq!(server.mails().len(), 1);
}
