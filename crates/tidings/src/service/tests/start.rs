//! From settings to ready, and what stands in the way.

use super::*;

#[tokio::test]
async fn a_service_that_started_is_ready_and_handles_what_is_published() {
    let (told, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let handler = move |order: Placed| {
        let told = told.clone();
        async move { drop(told.send(order.id)) }
    };
    let service = service(&["--http=127.0.0.1:0"])
        .handlers(Handlers::new().on(handler))
        .http(axum::Router::new().route("/hello", axum::routing::get(async || "hello")));
    let publisher = service.publisher().await.unwrap();
    let running = service.start().await.unwrap();
    let admin = running.admin_address().unwrap();

    assert_eq!(get(admin, "/healthz").await.0, 200);
    let (status, ready) = get(admin, "/readyz").await;
    assert_eq!(status, 200, "{ready}");
    for part in [r#""ready":true"#, r#""broker":{"state":"up"}"#, r#""service":{"state":"up"}"#] {
        assert!(ready.contains(part), "{part} in {ready}");
    }
    assert!(get(running.http_address().unwrap(), "/hello").await.1.ends_with("hello"));
    assert_eq!(running.grpc_address(), None);
    assert_eq!(get(admin, "/nothing").await.0, 404);

    publisher.publish(&placed()).await.unwrap();
    assert_eq!(timeout(SOON, handled.recv()).await.unwrap().unwrap(), "7");
    until(|| metric(admin, r#"tidings_messages_handled_total{group="orders",pattern="order.placed"} 1"#)).await;
    assert!(metric(admin, r#"tidings_events_published_total{by="publisher"} 1"#).await);
    let (_, metrics) = get(admin, "/metrics").await;
    assert!(metrics.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{metrics}");
    assert!(metrics.ends_with("# EOF\n") || metrics.contains("# EOF\n"), "{metrics}");
    running.stop().await.unwrap();
    assert!(TcpStream::connect(admin).await.is_err(), "the admin port ends with the service");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let error = |flag: &'static str| {
        let flag = format!("--{flag}={address}");
        async move {
            let service = builder("orders", &[]).arguments(["p", &flag, "--broker=memory:", "--log=off"]).init().unwrap();
            let service = service.http(axum::Router::new());
            service.start().await.err().unwrap().to_string()
        }
    };
    for flag in ["admin", "http"] {
        let said = error(flag).await;
        let begin =
            format!("cannot listen on {address} (--{flag}): another program has it; choose another port, or 0 for a free one");
        assert!(said.starts_with(&begin), "{said}");
    }
}

#[tokio::test]
async fn every_interface_is_listened_on_where_no_host_is_named() {
    let service = builder("orders", &[]).arguments(["p", "--admin=:0", "--broker=memory:", "--log=off"]).init().unwrap();
    let running = service.start().await.unwrap();
    let port = running.admin_address().unwrap().port();
    assert_eq!(get(([127, 0, 0, 1], port).into(), "/healthz").await.0, 200);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_name_that_cannot_be_a_group_is_refused_where_it_was_given() {
    let said = builder("orders", &["--name=a b"]).init().err().unwrap().to_string();
    assert!(said.starts_with("--name a b is not allowed: "), "{said}");
    let said = builder("orders", &["--id=a b"]).init().err().unwrap().to_string();
    assert!(said.starts_with("--id a b is not allowed: 1 to 128 "), "{said}");
    let renamed = builder("orders", &["--name=go.micro.srv.orders"]).init().unwrap();
    assert_eq!((renamed.name(), renamed.source().as_str()), ("go.micro.srv.orders", "/go.micro.srv.orders"));
    assert_eq!(renamed.core.group.as_str(), "go_micro_srv_orders");
    assert_eq!(renamed.settings().service(), "orders");
}

#[tokio::test]
async fn a_task_that_fails_or_panics_ends_the_service_by_its_name() {
    let failing = service(&[]).task("sweep", async { Err::<(), _>(std::io::Error::other("no broom")) });
    let said = timeout(SOON, failing.run_until(std::future::pending())).await.unwrap().unwrap_err().to_string();
    assert_eq!(said, "the task sweep failed: no broom");
    let panicking = service(&[]).task("sweep", async { assert!(SOON.is_zero(), "no dust") });
    let said = timeout(SOON, panicking.run_until(std::future::pending())).await.unwrap().unwrap_err().to_string();
    assert_eq!(said, "the task sweep failed: it panicked: no dust");
}

#[tokio::test]
async fn a_task_that_is_done_ends_nothing() {
    let (tell, done) = tokio::sync::oneshot::channel();
    let once = service(&[]).task("once", async move {
        let _ = tell.send(());
    });
    let mut running = once.start().await.unwrap();
    timeout(SOON, done).await.unwrap().unwrap();
    assert!(timeout(Duration::from_millis(200), running.failure()).await.is_err());
    running.stop().await.unwrap();
}

#[tokio::test]
async fn two_handlers_of_one_subscription_are_refused_before_anything_is_opened() {
    let handlers = Handlers::new().on(async |_: Placed| {}).on(async |_: Placed| {});
    let said = service(&[]).handlers(handlers).start().await.err().unwrap().to_string();
    assert!(said.contains(".group("), "{said}");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn what_is_committed_with_an_event_is_relayed_and_the_database_closed() {
    let (told, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let service = service(&[]).handlers(Handlers::new().on(move |order: Placed| {
        let told = told.clone();
        async move { drop(told.send(order.id)) }
    }));
    let database = service.database().await.unwrap();
    let outbox = service.outbox(&database).await.unwrap();
    let running = service.start().await.unwrap();
    #[allow(irrefutable_let_patterns, reason = "with Postgres there are two")]
    let crate::database::Database::Sqlite(pool) = &database else { panic!() };
    let mut tx = crate::database::begin_immediate(pool).await.unwrap();
    outbox.publish(&mut tx, &placed()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(timeout(SOON, handled.recv()).await.unwrap().unwrap(), "7");
    let admin = running.admin_address().unwrap();
    until(|| metric(admin, r#"tidings_events_published_total{by="outbox"} 1"#)).await;
    assert!(get(admin, "/readyz").await.1.contains(r#""database":{"state":"up"}"#));
    running.stop().await.unwrap();
    assert!(pool.is_closed());
}

#[tokio::test]
async fn a_service_may_be_without_what_it_has_not() {
    use crate::settings::Group;
    let args = ["p", "--admin=127.0.0.1:0", "--broker=memory:", "--log=off"];
    let builder = builder("orders", &[]).without(Group::Grpc).without(Group::Http).arguments(args);
    builder.init().unwrap().run_until(async {}).await.unwrap();
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_refused_login_is_no_absence_and_is_not_waited_for() {
    let Some(postgres) = tidings_testing::servers::Postgres::shared().await else { return };
    let url = postgres.database().await.replace("postgres@", "nobody@");
    let service = service(&["--wait=1h", &format!("--database={url}")]);
    let said = timeout(SOON, service.database()).await.unwrap().err().unwrap().to_string();
    assert!(said.starts_with("the database (--database) cannot be opened") && !said.contains("absent"), "{said}");
}
