//! What `?wire=bare` sends.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use tempfile::TempDir;
use tidings_core::{Client, url};
use tidings_testing::suite;

#[tokio::test]
async fn on_a_bare_wire_the_body_alone_arrives() {
    let folder = TempDir::new().unwrap();
    let url = url::parse(&format!("sqlite:{}/broker.db?wire=bare", folder.path().display())).unwrap();
    let broker = tidings_sql::open(&url, &Client { service: "case".into(), instance: "1".into() }).await.unwrap();
    suite::on_a_bare_wire_the_body_alone_arrives(&*broker).await;
}
