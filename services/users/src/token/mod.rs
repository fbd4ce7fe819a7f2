//! Tokens: what `Auth` gives and `ValidateToken` looks at.
//!
//! A token is a JWT (RFC 7519) that says which user, from whom, for whom and how
//! long. Who may have one is decided elsewhere.

mod key;
mod ring;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, time::Duration};

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, get_current_timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::key::KeyError;
use crate::domain::UserId;

/// How tokens are made; the service's settings of the same names say it.
#[derive(Clone, Debug)]
pub struct TokenPolicy {
    /// The key file; made when absent.
    pub key: PathBuf,
    /// How tokens are signed; no other signature is accepted.
    pub algorithm: Algorithm,
    /// Who gives them: `iss`.
    pub issuer: String,
    /// Whom they are for: `aud`.
    pub audience: String,
    /// How long they hold.
    pub lifetime: Duration,
}

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519: who checks a token cannot make one.
    EdDsa,
    /// A secret shared with everyone who checks tokens, as the tutorial had it.
    Hs256,
}

/// Makes tokens and checks them.
#[derive(Clone, Debug)]
pub struct Tokens {
    header: Header,
    sign: EncodingKey,
    verify: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
    lifetime: Duration,
}

/// A token that does not hold: forged, expired, or another's.
#[derive(Debug, thiserror::Error)]
#[error("the token does not hold")]
pub struct BadToken(#[from] jsonwebtoken::errors::Error);

/// A token could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("a token cannot be signed")]
pub struct SignError(#[from] jsonwebtoken::errors::Error);

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    iss: String,
    aud: String,
    exp: u64,
    iat: u64,
    jti: Uuid,
}

impl Tokens {
    /// Reads the key, or makes it on the first start.
    ///
    /// # Errors
    /// [`KeyError`], when the file cannot be read or written, others may use it, or
    /// it holds no key of the policy's kind.
    pub fn open(policy: TokenPolicy) -> Result<Self, KeyError> {
        ring::install();
        let keys = key::open(&policy.key, policy.algorithm)?;
        let algorithm = match policy.algorithm {
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        };
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&[&policy.issuer]);
        validation.set_audience(&[&policy.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Days need no leeway for clocks that differ by seconds.
        validation.leeway = 0;
        Ok(Self {
            header: Header::new(algorithm),
            sign: keys.sign,
            verify: keys.verify,
            validation,
            issuer: policy.issuer,
            audience: policy.audience,
            lifetime: policy.lifetime,
        })
    }

    /// A new token for `user`.
    ///
    /// # Errors
    /// [`SignError`], which a key that was opened does not cause.
    pub fn issue(&self, user: UserId) -> Result<String, SignError> {
        let now = get_current_timestamp();
        let claims = Claims {
            sub: user,
            iss: self.issuer.clone(),
            aud: self.audience.clone(),
            exp: now.saturating_add(self.lifetime.as_secs()),
            iat: now,
            jti: Uuid::new_v4(),
        };
        Ok(jsonwebtoken::encode(&self.header, &claims, &self.sign)?)
    }

    /// Whose token it is.
    ///
    /// # Errors
    /// [`BadToken`], unless the signature is of this service's key and algorithm,
    /// `iss` and `aud` are this service's, and `exp` is still to come.
    pub fn check(&self, token: &str) -> Result<UserId, BadToken> {
        let found = jsonwebtoken::decode::<Claims>(token, &self.verify, &self.validation)?;
        Ok(found.claims.sub)
    }
}
