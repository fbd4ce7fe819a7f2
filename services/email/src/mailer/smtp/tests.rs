//! Against a real mail server; skipped, saying so, where there is no Python or no PyPI.

use tidings_testing::servers::{Smtp as MailServer, SmtpBuilder};

use super::super::mail::tests::{from, mail_to};
use super::super::url::Target;
use super::*;

fn mailer(url: &str, timeout: Duration) -> Smtp {
    let Ok(Target::Server(server)) = Target::parse(url) else { unreachable!("{url}") };
    Smtp::new(*server, &from(), Limits { timeout, idle: 4 })
}

async fn server(builder: SmtpBuilder, setting: &str) -> Option<(MailServer, Smtp)> {
    let server = builder.start().await?;
    let ca = server.ca().map(|file| format!("ca={}", file.display()));
    let url = format!("{}?{setting}&{}", server.url(), ca.unwrap_or_default());
    Some((server, mailer(&url, Duration::from_secs(20))))
}

fn with_login(server: &MailServer, login: &str, settings: &str) -> Smtp {
    mailer(&format!("{}?{settings}", server.url().replace("//", &format!("//{login}@"))), Duration::from_secs(20))
}

#[tokio::test]
async fn a_mail_arrives_as_it_was_written() {
    let Some((server, smtp)) = server(MailServer::builder(), "").await else { return };
    smtp.send(&mail_to("u-1", "Ада, 愛", "ada@example.com")).await.unwrap();
    let mails = server.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].envelope.starts_with("MAIL FROM:<welcome@localhost>"), "{}", mails[0].envelope);
    assert!(mails[0].envelope.ends_with("RCPT TO:<ada@example.com>"), "{}", mails[0].envelope);
    assert!(mails[0].text.contains("Message-ID: <u-1@email>\r\n"), "{}", mails[0].text);
    // A line that is one dot ends a mail in SMTP, unless it is doubled on the way.
    assert!(mails[0].text.contains("Hello,\r\n.\r\nyou are in"), "{}", mails[0].text);
}

#[tokio::test]
async fn a_refusal_for_good_is_permanent_and_quotes_no_address() {
    let Some((server, smtp)) = server(MailServer::builder(), "").await else { return };
    for address in ["550.ada@example.com", "554data.ada@example.com"] {
        let error = smtp.send(&mail_to("u-1", "Ada", address)).await.unwrap_err();
        assert!(error.is_permanent(), "{error:?}");
        assert!(error.to_string().contains("5.0.0 <[recipient]>: told to refuse"), "{error}");
        assert!(!format!("{error} {error:?}").contains("ada@"), "{error:?}");
    }
    assert_eq!(server.mails(), []);
}

#[tokio::test]
async fn a_refusal_for_now_is_not_permanent_and_the_mail_goes_later() {
    let Some((server, smtp)) = server(MailServer::builder(), "").await else { return };
    let mail = mail_to("u-1", "Ada", "451x1.ada@example.com");
    let error = smtp.send(&mail).await.unwrap_err();
    assert!(!error.is_permanent());
    assert!(error.to_string().starts_with("the mail server does not take this mail now: 451"), "{error}");
    smtp.send(&mail).await.unwrap();
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn one_connection_carries_many_mails() {
    let Some((server, smtp)) = server(MailServer::builder(), "").await else { return };
    for id in ["1", "2", "3"] {
        smtp.send(&mail_to(id, "Ada", "ada@example.com")).await.unwrap();
    }
    assert_eq!((server.mails().len(), server.connections()), (3, 1));
}

#[tokio::test]
async fn a_server_that_was_away_is_found_again() {
    let Some((mut server, smtp)) = server(MailServer::builder(), "").await else { return };
    let mail = mail_to("1", "Ada", "ada@example.com");
    smtp.send(&mail).await.unwrap();
    server.kill();
    let error = smtp.send(&mail).await.unwrap_err();
    assert!(!error.is_permanent(), "{error:?}");
    assert!(error.to_string().contains(&server.address()), "{error}");
    server.restart().await;
    smtp.send(&mail).await.unwrap();
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up_and_its_connection_not_used_again() {
    let Some((server, _)) = server(MailServer::builder(), "").await else { return };
    let hasty = mailer(&server.url(), Duration::from_millis(300));
    let error = hasty.send(&mail_to("1", "Ada", "hang.ada@example.com")).await.unwrap_err();
    assert!(error.to_string().ends_with("did not take the mail within 0.3 s"), "{error}");
    assert!(!error.is_permanent());
    assert!(hasty.idle().is_empty());
}

#[tokio::test]
async fn tls_is_used_when_it_is_offered_and_when_it_is_all_there_is() {
    for (builder, setting) in [
        (MailServer::builder().starttls(), ""),
        (MailServer::builder().starttls(), "tls=required"),
        (MailServer::builder().wrapped(), ""),
    ] {
        let Some((server, smtp)) = server(builder, setting).await else { return };
        smtp.send(&mail_to("1", "Ada", "ada@example.com")).await.unwrap();
        assert!(smtp.take_kept().unwrap().is_encrypted());
        assert_eq!(server.mails().len(), 1);
    }
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_stops_the_mail() {
    let Some(server) = MailServer::builder().starttls().start().await else { return };
    let smtp = mailer(&server.url(), Duration::from_secs(20));
    let error = smtp.send(&mail_to("1", "Ada", "ada@example.com")).await.unwrap_err();
    assert!(!error.is_permanent());
    assert!(matches!(error, SendError::Connection { .. }), "{error:?}");
    assert_eq!(server.mails(), []);
}

#[tokio::test]
async fn tls_that_is_required_and_not_offered_stops_the_mail() {
    let Some((server, smtp)) = server(MailServer::builder(), "tls=required").await else { return };
    let error = smtp.send(&mail_to("1", "Ada", "ada@example.com")).await.unwrap_err();
    assert!(error.to_string().ends_with("offers no STARTTLS, and tls=required of --mail insists on it"), "{error}");
    assert!(!error.is_permanent());
    assert_eq!(server.mails(), []);
}

#[tokio::test]
async fn a_login_is_decoded_and_a_refused_one_is_neither_permanent_nor_shown() {
    let Some(server) = MailServer::builder().login("ada@mx", "p:w /d").start().await else { return };
    let mail = mail_to("1", "Ada", "ada@example.com");
    with_login(&server, "ada%40mx:p%3Aw%20%2Fd", "").send(&mail).await.unwrap();
    let error = with_login(&server, "ada%40mx:wrong", "").send(&mail).await.unwrap_err();
    assert!(error.to_string().ends_with("does not take the login of --mail (it answers 535)"), "{error}");
    assert!(!format!("{error:?}").contains("ada@mx") && !format!("{error:?}").contains("wrong"), "{error:?}");
    assert!(!error.is_permanent());
    let none = mailer(&server.url(), Duration::from_secs(20)).send(&mail).await.unwrap_err();
    assert!(none.to_string().ends_with("(it answers 530)"), "{none}");
    assert!(!none.is_permanent());
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn an_internationalised_address_goes_where_the_server_can_and_else_fails_for_good() {
    let mail = mail_to("1", "Ада", "ада@example.com");
    let Some((server, smtp)) = server(MailServer::builder(), "").await else { return };
    smtp.send(&mail).await.unwrap();
    assert!(server.mails()[0].envelope.contains("SMTPUTF8"), "{}", server.mails()[0].envelope);
    let Some((server, smtp)) = self::server(MailServer::builder().ascii(), "").await else { return };
    let error = smtp.send(&mail).await.unwrap_err();
    assert!(error.is_permanent() && error.to_string().contains("SMTPUTF8"), "{error}");
    smtp.send(&mail_to("1", "Ада", "ada@bücher.example")).await.unwrap();
    assert_eq!(server.mails().len(), 1);
}
