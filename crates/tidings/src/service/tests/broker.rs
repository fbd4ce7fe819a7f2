//! The broker: waited for, watched, brought along.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// A service whose broker is absent for the first tries.
fn absent_for(tries: usize, flags: &[&str]) -> (Service, Arc<AtomicUsize>) {
    let tried = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tried);
    let open = move |_, client| {
        let absent = seen.fetch_add(1, Ordering::Relaxed) < tries;
        async move {
            if absent {
                return Err(BrokerError::Unavailable { broker: "pigeon:".to_owned(), source: "no pigeon".into() });
            }
            tidings_memory::open(&format!("memory:{}", uuid::Uuid::new_v4()).parse().unwrap(), &client).await
        }
    };
    let args = ["p", "--broker=pigeon://me:hunter2@roof", "--log=off"];
    (builder("orders", &[]).scheme("pigeon", open).arguments(args.iter().chain(flags)).init().unwrap(), tried)
}

#[tokio::test]
async fn an_absent_broker_is_waited_for_and_named_while_it_is() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (service, tried) = absent_for(3, &[&format!("--admin={free}")]);
    let service = service.handlers(Handlers::new().on(async |_: Placed| {}));
    let starting = tokio::spawn(service.start());
    until(|| async { tried.load(Ordering::Relaxed) > 0 && TcpStream::connect(free).await.is_ok() }).await;
    let (status, ready) = get(free, "/readyz").await;
    if !starting.is_finished() && status != 200 {
        assert!(ready.contains("waiting for it: pigeon: is not available: no pigeon") || ready.contains("starting"), "{ready}");
        assert!(!ready.contains("hunter2"), "{ready}");
    }
    let running = timeout(SOON, starting).await.unwrap().unwrap().unwrap();
    assert_eq!(tried.load(Ordering::Relaxed), 4);
    assert_eq!(get(free, "/readyz").await.0, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_stays_absent_ends_the_start_with_its_setting_and_the_wait() {
    let (service, _) = absent_for(usize::MAX, &["--wait=300ms", "--admin=127.0.0.1:0"]);
    let said = service.broker().await.err().unwrap().to_string();
    let expected = "the broker (--broker) is still absent after 300ms (--wait): pigeon: is not available: no pigeon";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn an_unknown_scheme_is_not_waited_for() {
    let service = builder("orders", &[]).arguments(["p", "--broker=kafka://me:hunter2@h", "--admin=127.0.0.1:0", "--log=off"]);
    let said = service.init().unwrap().broker().await.err().unwrap().to_string();
    assert!(
        said.starts_with("the broker (--broker) cannot be opened: broker URL kafka://h: no broker has the scheme `kafka:`"),
        "{said}"
    );
}

#[tokio::test]
async fn a_subscribing_service_is_ready_only_while_its_broker_is_up() {
    let broker = Moody::new().await;
    let service = builder("orders", &[]).arguments(["p", "--admin=127.0.0.1:0", "--log=off"]).broker(broker.clone());
    let service = service.init().unwrap().handlers(Handlers::new().on(async |_: Placed| {}));
    let running = service.start().await.unwrap();
    let admin = running.admin_address().unwrap();
    broker.is(Health::Down("connection refused".to_owned()));
    until(|| async { get(admin, "/readyz").await.0 == 503 }).await;
    let (_, ready) = get(admin, "/readyz").await;
    assert!(ready.contains(r#""broker":{"reason":"moody: connection refused","state":"down"}"#), "{ready}");
    assert!(metric(admin, r#"tidings_broker_up{broker="moody"} 0"#).await);
    broker.is(Health::Warning("80 % full".to_owned()));
    until(|| async { get(admin, "/readyz").await.0 == 200 }).await;
    assert!(get(admin, "/readyz").await.1.contains("80 % full"));
    assert!(metric(admin, r#"tidings_broker_up{broker="moody"} 1"#).await);
    assert!(metric(admin, "tidings_broker_moods_total 3").await, "{}", get(admin, "/metrics").await.1);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_service_that_only_publishes_stays_ready_and_names_its_broker() {
    let broker = Moody::new().await;
    let service =
        builder("orders", &[]).arguments(["p", "--admin=127.0.0.1:0", "--log=off"]).broker(broker.clone()).init().unwrap();
    service.publisher().await.unwrap();
    let running = service.start().await.unwrap();
    let admin = running.admin_address().unwrap();
    broker.is(Health::Down("connection refused".to_owned()));
    until(|| async { get(admin, "/readyz").await.1.contains("moody is away, events wait in the outbox: connection refused") })
        .await;
    assert_eq!(get(admin, "/readyz").await.0, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_broker_that_was_brought_along_leaves_no_setting_for_another() {
    let broker = Moody::new().await;
    let builder = builder("orders", &[]).broker(broker);
    let said = builder.arguments(["p", "--broker=memory:"]).init().err().unwrap().to_string();
    assert!(said.starts_with("unknown flag --broker"), "{said}");
}

#[tokio::test]
async fn the_broker_in_use_is_within_reach() {
    let service = service(&[]);
    let broker = service.broker().await.unwrap();
    assert_eq!(broker.name(), "memory");
    assert!(Arc::ptr_eq(&broker, &service.broker().await.unwrap()));
}
