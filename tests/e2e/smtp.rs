//! Mails over SMTP, to a real server that takes some and refuses others.

use crate::support::{Ground, LATER, among_others, user};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};
use tidings_testing::servers::{ReceivedMail, Smtp, eventually, python};

/// Reads a mail as a mail program does: with Python's `email` package, which shares nothing with what wrote it.
///
/// The headers are decoded by its older half: the newer one leaves the white space between the encoded words of a name.
const READER: &str = r#"
import email, email.policy, json, sys
from email.header import decode_header, make_header
from email.utils import parseaddr
raw = sys.stdin.buffer.read()
head, body = email.message_from_bytes(raw), email.message_from_bytes(raw, policy=email.policy.default)
name, address = parseaddr(head["To"].replace("\r\n", ""))
name, subject = (str(make_header(decode_header(word))) for word in (name, head["Subject"]))
text = body.get_body(("plain",)).get_content().splitlines()[0]
html = body.get_body(("html",)).get_content()
print(json.dumps([name, address, subject, text, "<p>" + text + "</p>" in html]))
"#;

/// Of several scripts and directions, with what a header has to quote, and so long that it takes several encoded words.
const NAMES: [&str; 5] = [
    "Łukasz Ωmega 山田",
    "مريم בר-לב",
    "Zoë O’Neil, Jr. (Ops) <team>",
    "👩‍💻 Ada",
    "山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田山田",
];

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

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_any_script_is_read_as_it_was_given() {
    let _turn = among_others().await;
    let Some(smtp) = Smtp::start().await else { return };
    let Some(python) = python(&["aiosmtpd==1.4.6"]).await else { return };
    let ground = Ground::embedded();
    let _email = ground.email(&["--mail", &smtp.url()]).await;
    let users = ground.users(&[]).await;
    for (n, name) in NAMES.into_iter().enumerate() {
        let mut user = user(n);
        user.name = name.to_owned();
        users.client().create(user).await.unwrap();
    }
    eventually(LATER, async || smtp.mails().len() >= NAMES.len()).await;

    let mut read: Vec<Value> = smtp.mails().iter().map(|mail| read(Command::new(&python), mail)).collect();
    read.sort_by_key(|mail| mail[1].to_string());
    for (n, name) in NAMES.into_iter().enumerate() {
        let in_html = !name.contains('<');
        let expected = json!([name, user(n).email, format!("Welcome, {name}"), format!("Hello {name},"), in_html]);
        assert_eq!(read[n], expected);
    }
}

/// The name and address in `To`, the subject, the first line of the text, and whether it stands in the HTML letter for letter.
fn read(mut python: Command, mail: &ReceivedMail) -> Value {
    python.args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = python.spawn().unwrap();
    child.stdin.take().unwrap().write_all(mail.text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", mail.text))
}

/// The address in `RCPT TO:<…>`.
fn recipient(envelope: &str) -> Option<String> {
    let line = envelope.lines().find(|line| line.starts_with("RCPT TO:"))?;
    Some(line.split(['<', '>']).nth(1)?.to_owned())
}
