//! Mails over SMTP, to a real server that takes some and refuses others.

use crate::support::{Ground, LATER, among_others, user};
use tidings_testing::servers::{Smtp, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mail_server_takes_is_mailed_once_and_what_it_refuses_is_not_tried_for_ever() {
    let _turn = among_others().await;
    let Some(smtp) = Smtp::start().await else { return };
    let ground = Ground::embedded();
    let email = ground.email(&["--mail", &smtp.url()]).await;
    let users = ground.users(&[]).await;
    for address in ["ada@example.com", "451x2.bob@example.com", "550.eve@example.com"] {
        let mut user = user(0);
        user.email = address.to_owned();
        users.client().create(user).await.unwrap();
    }

    eventually(LATER, async || smtp.mails().len() >= 2).await;
    eventually(LATER, async || email.metric("tidings_messages_dead_lettered_total", "user.created").await == 1.0).await;
    let retried = email.metric("tidings_messages_retried_total", "user.created").await;
    assert!((retried - 2.0).abs() < 0.1, "only the temporary refusals are retried: {retried}");
    let mut recipients: Vec<String> = smtp.mails().iter().filter_map(|mail| recipient(&mail.envelope)).collect();
    recipients.sort();
    assert_eq!(recipients, ["451x2.bob@example.com", "ada@example.com"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_was_away_gets_each_mail_once_it_is_back() {
    let _turn = among_others().await;
    let Some(mut smtp) = Smtp::start().await else { return };
    smtp.kill();
    let ground = Ground::embedded();
    let email = ground.email(&["--mail", &smtp.url()]).await;
    let users = ground.users(&[]).await;
    for n in 0..5 {
        users.client().create(user(n)).await.unwrap();
    }
    eventually(LATER, async || email.metric("tidings_messages_retried_total", "user.created").await >= 5.0).await;
    smtp.restart().await;
    eventually(LATER, async || smtp.mails().len() >= 5).await;
    let mut recipients: Vec<String> = smtp.mails().iter().filter_map(|mail| recipient(&mail.envelope)).collect();
    recipients.sort();
    assert_eq!(recipients, (0..5).map(|n| user(n).email).collect::<Vec<_>>());
}

/// The address in `RCPT TO:<…>`.
fn recipient(envelope: &str) -> Option<String> {
    let line = envelope.lines().find(|line| line.starts_with("RCPT TO:"))?;
    Some(line.split(['<', '>']).nth(1)?.to_owned())
}
