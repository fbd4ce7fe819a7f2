//! A broker's file of a test's own.

use std::{fs, path::PathBuf, sync::Arc};

use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use tidings_core::{Broker, BrokerError, Client, url::Url};
use tidings_testing::suite::within;

/// A folder with a broker's file in it.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.0.path().join("broker.db")
    }

    pub(crate) async fn try_open(&self, settings: &str) -> Result<Arc<dyn Broker>, BrokerError> {
        let url: Url = format!("sqlite:{}?{settings}", self.file().display()).parse().unwrap();
        tidings_sql::open(&url, &Client { service: "case".into(), instance: "1".into() }).await
    }

    pub(crate) async fn open(&self) -> Arc<dyn Broker> {
        self.open_with("").await
    }

    pub(crate) async fn open_with(&self, settings: &str) -> Arc<dyn Broker> {
        within(self.try_open(settings)).await.unwrap()
    }

    /// A connection past the broker.
    pub(crate) async fn raw(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.file())).await.unwrap()
    }

    pub(crate) fn owners(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_string_lossy().contains("-owner-")).collect()
    }
}
