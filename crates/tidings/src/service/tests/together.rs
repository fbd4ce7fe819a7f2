//! Several services in one process.

use super::*;

#[tokio::test]
async fn services_in_one_process_share_what_is_bare_and_keep_what_is_theirs() {
    let broker = format!("--broker=memory:{}", uuid::Uuid::new_v4());
    let args = ["p", "--admin=127.0.0.1:0", &broker, "--orders.name=shop", "--wait=1s", "--mails.wait=2s", "--log=off"];
    let orders = Service::builder("orders", "1").arguments(args).environment::<String, String>([]);
    let mails = Service::builder("mails", "2");
    let [orders, mails] = Service::init_together([orders, mails]).unwrap();
    assert_eq!((orders.name(), mails.name()), ("shop", "mails"));
    assert_eq!(orders.settings().get::<Duration>("wait").unwrap(), Duration::from_secs(1));
    assert_eq!(mails.settings().get::<Duration>("wait").unwrap(), Duration::from_secs(2));

    let (told, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let mails = mails.handlers(Handlers::new().on(move |order: Placed, meta: crate::Meta| {
        let told = told.clone();
        async move { drop(told.send((order.id, meta.source().to_string()))) }
    }));
    let publisher = orders.publisher().await.unwrap();
    let (orders, mails) = tokio::join!(orders.start(), mails.start());
    let (orders, mails) = (orders.unwrap(), mails.unwrap());
    assert_ne!(orders.admin_address(), mails.admin_address());
    publisher.publish(&placed()).await.unwrap();
    assert_eq!(timeout(SOON, handled.recv()).await.unwrap().unwrap(), ("7".to_owned(), "/shop".to_owned()));
    orders.stop().await.unwrap();
    mails.stop().await.unwrap();
}

#[tokio::test]
async fn one_that_fails_takes_the_others_with_it_in_order() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let fine = builder("fine", &[]).init().unwrap().task("told", move |stopping: Stopping| async move {
        stopping.await;
        let _ = tell.send("ended in order");
    });
    let failing = service(&[]).task("bad", async { Err::<(), _>("broken") });
    let said = timeout(SOON, run_together([fine, failing])).await.unwrap().unwrap_err().to_string();
    assert_eq!(said, "the task bad failed: broken");
    assert_eq!(told.await.unwrap(), "ended in order");
}
