//! The names that go-micro and its tutorial gave to settings, so that their deployments go on unchanged.
//!
//! What they mean is in the table (`Setting::go_micro`); here is what takes more than another name.

use std::collections::BTreeMap;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::spec::upper;

/// Begins go-micro's variables.
pub(super) const PREFIX: &str = "MICRO_";

/// Names of parts that there are not; they are accepted, with one warning.
pub(super) const PASSED_OVER: [&str; 6] =
    ["registry", "registry_address", "register_ttl", "register_interval", "selector", "server_version"];

/// The word for its NATS broker, where ours is a URL.
pub(super) const NATS: &str = "nats";

/// Where that broker is.
pub(super) const BROKER_ADDRESS: &str = "broker_address";

/// Where it is if nobody says.
const DEFAULT_ADDRESS: &str = "127.0.0.1:4222";

/// The variable of one of its flags: `MICRO_SERVER_NAME` of `server_name`.
pub(super) fn variable(flag: &str) -> String {
    upper(PREFIX, flag)
}

/// The URL that `--broker nats` and `--broker_address` stand for.
///
/// As go-micro reads it: several addresses with commas, empty ones passed over, each with `nats://` or without.
pub(super) fn nats_url(addresses: Option<&str>) -> String {
    let addresses: Vec<&str> = addresses
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .map(|address| address.strip_prefix("nats://").unwrap_or(address))
        .filter(|address| !address.is_empty())
        .collect();
    let addresses = if addresses.is_empty() { DEFAULT_ADDRESS.to_owned() } else { addresses.join(",") };
    format!("nats://{addresses}?wire=go-micro")
}

/// The variables by which the tutorial's user-service finds its database.
pub(super) const DATABASE: [&str; 5] = ["DB_HOST", "DB_USER", "DB_NAME", "DB_PASSWORD", "DB_PASS"];

/// The URL that they stand for; nothing without a host. Its code read `DB_PASSWORD`, its Makefile set `DB_PASS`.
pub(super) fn database_url(variables: &BTreeMap<String, String>) -> Option<String> {
    let get = |name: &str| variables.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let host = get("DB_HOST")?;
    let user = get("DB_USER").map(encoded);
    let password = get("DB_PASSWORD").or(get("DB_PASS")).map(|password| format!(":{}", encoded(password)));
    let name = get("DB_NAME").map(encoded).or(user.clone());
    let login = user.map(|user| format!("{user}{}@", password.unwrap_or_default()));
    Some(format!("postgres://{}{host}/{}", login.unwrap_or_default(), name.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_nats_addresses_become_a_url() {
        assert_eq!(nats_url(None), "nats://127.0.0.1:4222?wire=go-micro");
        assert_eq!(nats_url(Some("")), "nats://127.0.0.1:4222?wire=go-micro");
        assert_eq!(nats_url(Some("nats://a:1, ,b:2,")), "nats://a:1,b:2?wire=go-micro");
    }

    #[test]
    fn the_tutorials_variables_become_a_url() {
        let url = |pairs: &[(&str, &str)]| {
            database_url(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(url(&[("DB_USER", "postgres")]), None);
        assert_eq!(url(&[("DB_HOST", "")]), None);
        assert_eq!(
            url(&[("DB_HOST", "db:5433"), ("DB_USER", "postgres"), ("DB_PASS", "p@ss/word")]).unwrap(),
            "postgres://postgres:p%40ss%2Fword@db:5433/postgres"
        );
        assert_eq!(
            url(&[("DB_HOST", "db"), ("DB_USER", "u"), ("DB_NAME", "n"), ("DB_PASSWORD", "one"), ("DB_PASS", "two")]).unwrap(),
            "postgres://u:one@db/n"
        );
        assert_eq!(url(&[("DB_HOST", "db")]).unwrap(), "postgres://db/");
    }
}
