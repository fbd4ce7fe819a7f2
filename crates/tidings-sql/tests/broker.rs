//! The cases that every broker passes, on a file of each case's own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

#[path = "../../tidings-memory/tests/cases/mod.rs"]
mod cases;

use std::sync::Arc;

use cases::*;
use tempfile::TempDir;
use tidings_core::{Broker, Client, url::Url};

fn engine() -> Engine {
    let folder = Arc::new(TempDir::new().unwrap());
    Engine::new(move || {
        let folder = Arc::clone(&folder);
        async move { open(&format!("sqlite:{}/new/broker.db", folder.path().display())).await }
    })
}

async fn open(url: &str) -> Arc<dyn Broker> {
    let client = Client { service: "case".into(), instance: "1".into() };
    tidings_sql::open(&url.parse::<Url>().unwrap(), &client).await.unwrap()
}

broker_cases!(crate::engine);

#[tokio::test]
async fn on_a_bare_wire_the_body_alone_arrives() {
    let folder = TempDir::new().unwrap();
    let broker = open(&format!("sqlite:{}/broker.db?wire=bare", folder.path().display())).await;
    cases::publishing::on_a_bare_wire_the_body_alone_arrives(&*broker).await;
}
