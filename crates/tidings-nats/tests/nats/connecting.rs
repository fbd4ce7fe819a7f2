//! Getting in, and being told clearly why not.

use crate::common::{Reader, SOON, chain, numbered, open, to, try_open};
use tidings_core::BrokerError;
use tidings_testing::servers::{Nats, free_port};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

async fn error(url: &str) -> BrokerError {
    try_open(url).await.err().expect("an error")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_absent_server_is_said_at_once() {
    for scheme in ["nats", "jetstream"] {
        let error = error(&format!("{scheme}://me:hunter2@127.0.0.1:{}", free_port())).await;
        assert!(error.is_transient(), "{error}");
        let text = chain(&error);
        assert!(text.contains(&format!("{scheme}://127.0.0.1:")) && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_servers_one_is_enough() {
    let Some(nats) = Nats::start().await else { return };
    let url = format!("nats://127.0.0.1:{},{}", free_port(), nats.address());
    open(&url).await.publish(&numbered("a.b", 1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_token_get_in_and_others_do_not() {
    for builder in [Nats::builder().user("me", "s3cret"), Nats::builder().token("s3cret")] {
        let Some(nats) = builder.jetstream().start().await else { return };
        open(&nats.url()).await;
        open(&nats.jetstream_url()).await;
        let address = nats.address();
        for login in ["", "hunter2@", "me:hunter2@", "you:s3cret%21@"] {
            for scheme in ["nats", "jetstream"] {
                let error = error(&format!("{scheme}://{login}{address}")).await;
                assert!(!error.is_transient(), "{error}");
                let text = chain(&error);
                assert!(text.contains("password") && !text.contains("hunter2") && !text.contains("s3cret"), "{text}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credentials_file_gets_in() {
    let Some(nats) = Nats::builder().credentials().start().await else { return };
    let file = nats.credentials_file().unwrap().display().to_string();
    let broker = open(&format!("nats://{}?credentials={file}", nats.address())).await;
    let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
    broker.publish(&numbered("a.b", 1)).await.unwrap();
    reader.handle(1).await;
    assert!(!error(&format!("nats://{}", nats.address())).await.is_transient());
    let absent = error(&format!("nats://{}?credentials=/absent.creds", nats.address())).await.to_string();
    assert!(absent.contains("credentials=/absent.creds"), "{absent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_needs_an_authority_that_we_trust() {
    let Some(nats) = Nats::builder().tls().start().await else { return };
    let ca = nats.ca().unwrap().display().to_string();
    for setting in ["", "&tls=required"] {
        let broker = open(&format!("nats://{}?ca={ca}{setting}", nats.address())).await;
        let mut reader = Reader::new(&broker, to("mail", "a.b")).await;
        broker.publish(&numbered("a.b", 1)).await.unwrap();
        reader.handle(1).await;
    }
    let untrusted = error(&nats.url()).await;
    assert!(!untrusted.is_transient() && untrusted.to_string().contains("ca=FILE"), "{untrusted}");
    let absent = error(&format!("nats://{}?ca=/absent.pem", nats.address())).await.to_string();
    assert!(absent.contains("ca=/absent.pem"), "{absent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_the_server_does_not_have_is_not_left_out() {
    let Some(nats) = Nats::start().await else { return };
    let opened = tokio::time::timeout(SOON, try_open(&format!("{}?tls=required", nats.url()))).await.unwrap();
    assert!(opened.is_err());
}

#[tokio::test]
async fn a_wrong_setting_is_named_with_what_there_is() {
    for (url, named) in [
        ("nats://h?wire=morse", "cloudevents, bare, go-micro"),
        ("nats://h?colour=red", "`colour`"),
        ("nats://h/STREAM", "jetstream://"),
        ("nats://h?buffer=few", "`buffer=few`"),
        ("jetstream://h?max_bytes=1GB", "1GiB"),
        ("jetstream://h/a.b", "`a.b`"),
        ("kafka://h", "nats, jetstream"),
    ] {
        let error = error(url).await;
        assert!(matches!(error, BrokerError::Url { .. }) && error.to_string().contains(named), "{error}");
    }
}

/// Where a server answers as one of that version would, by a word that is changed in its greeting.
async fn as_version(nats: &Nats, version: &str) -> String {
    let (listener, server) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), nats.address());
    let (address, version) = (listener.local_addr().unwrap().to_string(), format!("\"version\":\"{version}\""));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = BufReader::new(TcpStream::connect(&server).await.unwrap());
            let mut greeting = String::new();
            server.read_line(&mut greeting).await.unwrap();
            let said = greeting.split(',').find(|word| word.starts_with("\"version\"")).unwrap();
            client.write_all(greeting.replace(said, &version).as_bytes()).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_named_with_what_is_needed() {
    let Some(nats) = Nats::with_jetstream().await else { return };
    for (version, allowed) in [("2.8.4", false), ("2.9.0", true), ("2.10.0-beta.1", true), ("3.0", true)] {
        let url = format!("jetstream://{}/V?max_bytes=1MiB&letters_max_bytes=1MiB", as_version(&nats, version).await);
        match try_open(&url).await {
            Ok(_) => assert!(allowed, "{version}"),
            Err(error) => {
                assert!(!allowed && !error.is_transient(), "{version}: {error}");
                let text = chain(&error);
                assert!(text.contains(&format!("nats-server {version} is too old")) && text.contains("2.9 or newer"), "{text}");
            }
        }
    }
    // NATS core needs nothing that is new.
    open(&format!("nats://{}", as_version(&nats, "2.8.4").await)).await;
}
