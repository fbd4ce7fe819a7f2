//! Which broker a URL's scheme stands for: the table, to which a program can add its own.

use std::{fmt, future::Future, sync::Arc};

use tidings_core::{
    BoxFuture, Broker, BrokerError, Client,
    url::{Url, parse, redacted},
};

/// Opens a broker.
type Open = Arc<dyn Fn(Url, Client) -> BoxFuture<'static, Result<Arc<dyn Broker>, BrokerError>> + Send + Sync>;

/// The brokers that this program knows, by scheme.
#[derive(Clone)]
pub(crate) struct Schemes(Vec<(&'static str, Open)>);

/// Ours, with the feature that each asks for.
const FEATURES: [(&str, &str, bool); 4] = [
    ("memory", "memory", cfg!(feature = "memory")),
    ("sqlite", "sqlite", cfg!(feature = "sqlite")),
    ("nats", "nats", cfg!(feature = "nats")),
    ("jetstream", "nats", cfg!(feature = "nats")),
];

impl Schemes {
    /// Ours, as far as the program was built with them.
    pub(crate) fn ours() -> Self {
        #[cfg_attr(not(any(feature = "memory", feature = "sqlite", feature = "nats")), expect(unused_mut, reason = "no broker"))]
        let mut schemes = Self(Vec::new());
        #[cfg(feature = "memory")]
        schemes.add("memory", async |url: Url, client: Client| tidings_memory::open(&url, &client).await);
        #[cfg(feature = "sqlite")]
        schemes.add("sqlite", async |url: Url, client: Client| tidings_sql::open(&url, &client).await);
        #[cfg(feature = "nats")]
        for scheme in ["nats", "jetstream"] {
            schemes.add(scheme, async |url: Url, client: Client| tidings_nats::open(&url, &client).await);
        }
        schemes
    }

    /// Adds one; it stands instead of one of this name that is there.
    pub(crate) fn add<F>(&mut self, scheme: &'static str, open: impl Fn(Url, Client) -> F + Send + Sync + 'static)
    where
        F: Future<Output = Result<Arc<dyn Broker>, BrokerError>> + Send + 'static,
    {
        self.0.retain(|(name, _)| *name != scheme);
        self.0.push((scheme, Arc::new(move |url, client| Box::pin(open(url, client)))));
    }

    /// Opens the broker that the URL names.
    pub(crate) async fn open(&self, url: &str, client: Client) -> Result<Arc<dyn Broker>, BrokerError> {
        let url = parse(url)?;
        match self.0.iter().find(|(scheme, _)| *scheme == url.scheme()) {
            Some((_, open)) => open(url, client).await,
            None => Err(BrokerError::Url { url: redacted(&url), reason: self.unknown(url.scheme()) }),
        }
    }

    fn unknown(&self, scheme: &str) -> String {
        let known: Vec<_> = self.0.iter().map(|(scheme, _)| format!("{scheme}:")).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let mut reason = format!("no broker has the scheme `{scheme}:`; there are: {known}");
        for (ours, feature, _) in FEATURES.iter().filter(|(_, _, there)| !there) {
            if *ours == scheme {
                return format!(
                    "this program was built without the feature `{feature}` that `{scheme}:` asks for; there are: {known}"
                );
            }
            reason.push_str(&format!("; built with the feature `{feature}` also {ours}:"));
        }
        reason
    }
}

impl fmt::Debug for Schemes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(scheme, _)| scheme)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> Client {
        Client { service: "s".into(), instance: "i".into() }
    }

    async fn error(schemes: &Schemes, url: &str) -> String {
        schemes.open(url, client()).await.err().unwrap().to_string()
    }

    #[tokio::test]
    async fn an_unknown_scheme_is_refused_with_those_that_there_are() {
        let said = error(&Schemes::ours(), "kafka://me:hunter2@h").await;
        assert!(said.contains("no broker has the scheme `kafka:`") && !said.contains("hunter2"), "{said}");
        assert_eq!(said.contains("memory:"), cfg!(feature = "memory"), "{said}");
        #[cfg(not(feature = "nats"))]
        {
            assert!(said.contains("built with the feature `nats` also nats:"), "{said}");
            let said = error(&Schemes::ours(), "nats://h").await;
            assert!(said.contains("built without the feature `nats` that `nats:` asks for"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_program_adds_its_own() {
        let mut schemes = Schemes::ours();
        schemes.add("own", async |url: Url, client: Client| {
            Err(BrokerError::Refused { broker: url.into(), reason: client.instance.to_string() })
        });
        assert_eq!(error(&schemes, "own:x").await, "own:x refused: i");
    }
}
