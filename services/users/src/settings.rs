//! The settings that this service adds to those that every service has.

use std::{num::NonZeroUsize, thread::available_parallelism, time::Duration};

use tidings::settings::{Setting, Settings, SettingsError};

use crate::{
    rpc::Access,
    token::{Algorithm, TokenPolicy},
};

const MINUTE: Duration = Duration::from_secs(60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Their lines of the table.
pub(crate) fn table() -> [Setting; 7] {
    [
        Setting::path("auth-key")
            .default("<data>/auth.key")
            .help("The file with the key that signs tokens; made on the first start, for its owner alone"),
        Setting::choice("auth-algorithm", &["EdDSA", "HS256"])
            .default("EdDSA")
            .help("How tokens are signed: Ed25519, or a secret shared with who checks them, as the tutorial did"),
        Setting::text("auth-issuer").default("go.micro.srv.user").help("Who gives the tokens: their claim `iss`"),
        Setting::text("auth-audience").default("tidings").help("Whom the tokens are for: their claim `aud`"),
        Setting::duration("auth-lifetime").default("72h").between(MINUTE, YEAR).help("How long a token holds"),
        Setting::switch("require-auth")
            .help("Refuse every call but Create, Auth and ValidateToken without `authorization: Bearer <token>`"),
        Setting::number("password-hashes")
            .between(1, 1_024)
            .help("The most passwords that are hashed at once, 19 MiB each; the number of cores when not set"),
    ]
}

/// How tokens are made.
pub(crate) fn token_policy(settings: &Settings) -> Result<TokenPolicy, SettingsError> {
    let algorithm: String = settings.get("auth-algorithm")?;
    Ok(TokenPolicy {
        key: settings.get("auth-key")?,
        algorithm: if algorithm == "HS256" { Algorithm::Hs256 } else { Algorithm::EdDsa },
        issuer: settings.get("auth-issuer")?,
        audience: settings.get("auth-audience")?,
        lifetime: settings.get("auth-lifetime")?,
    })
}

/// Who may make the calls that need a token where one is required.
pub(crate) fn access(settings: &Settings) -> Result<Access, SettingsError> {
    Ok(if settings.get("require-auth")? { Access::Token } else { Access::Open })
}

/// How many passwords are hashed at once.
pub(crate) fn hashes_at_once(settings: &Settings) -> Result<NonZeroUsize, SettingsError> {
    let asked: Option<usize> = settings.get("password-hashes")?;
    let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Ok(asked.and_then(NonZeroUsize::new).unwrap_or(cores))
}
