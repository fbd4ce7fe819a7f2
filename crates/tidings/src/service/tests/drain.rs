//! Stopping: in order, in time.

use tokio::sync::{Notify, mpsc};

use super::*;

/// A handler that says when it begins and ends when it is let.
fn held() -> (Handlers, mpsc::UnboundedReceiver<&'static str>, Arc<Notify>) {
    let (tell, told) = mpsc::unbounded_channel();
    let let_go = Arc::new(Notify::new());
    let gate = Arc::clone(&let_go);
    let handlers = Handlers::new().on(move |_: Placed| {
        let (tell, gate) = (tell.clone(), Arc::clone(&gate));
        async move {
            let _ = tell.send("begun");
            gate.notified().await;
            let _ = tell.send("ended");
        }
    });
    (handlers, told, let_go)
}

async fn holding(flags: &[&str]) -> (Running, mpsc::UnboundedReceiver<&'static str>, Arc<Notify>) {
    let (handlers, mut told, let_go) = held();
    let service = service(flags).handlers(handlers);
    let publisher = service.publisher().await.unwrap();
    let running = service.start().await.unwrap();
    publisher.publish(&placed()).await.unwrap();
    assert_eq!(timeout(SOON, told.recv()).await.unwrap(), Some("begun"));
    (running, told, let_go)
}

#[tokio::test]
async fn what_is_in_hand_is_finished_while_readiness_says_no() {
    let (running, mut told, let_go) = holding(&["--drain=1h"]).await;
    let admin = running.admin_address().unwrap();
    let stopping = tokio::spawn(running.stop());
    until(|| async { get(admin, "/readyz").await.0 == 503 }).await;
    let (_, ready) = get(admin, "/readyz").await;
    assert!(ready.contains(r#""service":{"reason":"stopping","state":"down"}"#), "{ready}");
    assert_eq!(get(admin, "/healthz").await.0, 200);
    assert!(!stopping.is_finished());
    let_go.notify_one();
    timeout(SOON, stopping).await.unwrap().unwrap().unwrap();
    assert_eq!(told.recv().await, Some("ended"));
}

#[tokio::test]
async fn what_hangs_is_cut_after_four_fifths_and_the_end_is_in_order() {
    let (running, mut told, _held) = holding(&["--drain=1s"]).await;
    let begun = Instant::now();
    timeout(SOON, running.stop()).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
    assert_eq!(told.recv().await, None, "it was cut");
}

#[tokio::test]
async fn a_task_that_is_told_is_waited_for_and_another_is_dropped_after_the_handlers() {
    struct Dropped(mpsc::UnboundedSender<&'static str>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            let _ = self.0.send("endless dropped");
        }
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let endless = Dropped(tell.clone());
    let service = service(&[])
        .task("endless", async move {
            let _kept = endless;
            std::future::pending::<()>().await;
        })
        .task("told", move |stopping: Stopping| async move {
            stopping.await;
            sleep(Duration::from_millis(50)).await;
            tell.send("told ended")
        });
    timeout(SOON, service.run_until(async {})).await.unwrap().unwrap();
    assert_eq!(told.recv().await, Some("told ended"));
    assert_eq!(told.recv().await, Some("endless dropped"));
}

#[tokio::test]
async fn a_request_that_runs_is_finished_and_one_that_hangs_is_answered() {
    let gate = Arc::new(Notify::new());
    let (tell, mut begun) = mpsc::unbounded_channel();
    let handler = {
        let gate = Arc::clone(&gate);
        move || {
            let (gate, tell) = (Arc::clone(&gate), tell.clone());
            async move {
                let _ = tell.send(());
                gate.notified().await;
                "done"
            }
        }
    };
    let router = axum::Router::new().route("/", axum::routing::get(handler));
    for (drain, let_go, status) in [("1h", true, 200), ("1s", false, 503)] {
        let service = service(&["--http=127.0.0.1:0", &format!("--drain={drain}")]).http(router.clone());
        let running = service.start().await.unwrap();
        let address = running.http_address().unwrap();
        let request = tokio::spawn(async move { get(address, "/").await });
        timeout(SOON, begun.recv()).await.unwrap().unwrap();
        let stopping = tokio::spawn(running.stop());
        until(|| async { TcpStream::connect(address).await.is_err() }).await;
        if let_go {
            gate.notify_one();
        }
        assert_eq!(timeout(SOON, request).await.unwrap().unwrap().0, status);
        timeout(SOON, stopping).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_told_task_that_hangs_is_dropped_at_the_cut() {
    let service = service(&["--drain=1s"]).task("hangs", |_: Stopping| std::future::pending::<()>());
    let begun = Instant::now();
    timeout(SOON, service.run_until(async {})).await.unwrap().unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(800), "{:?}", begun.elapsed());
}
