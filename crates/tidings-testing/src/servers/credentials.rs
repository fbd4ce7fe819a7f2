//! What a nats-server that knows its users by signed tokens is configured with, and one user's credentials file.
//!
//! The chain is that of NATS: an operator signs an account, the account signs a user, each a JWT by an Ed25519 key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The rights of an account and of a user, all of them.
const ACCOUNT: &str = r#"{"type":"account","version":2,"default_permissions":{"pub":{},"sub":{}},"limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,"wildcards":true,"conn":-1,"leaf":-1,"mem_storage":-1,"disk_storage":-1,"streams":-1,"consumer":-1}}"#;
const USER: &str = r#"{"type":"user","version":2,"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1}"#;
const OPERATOR: &str = r#"{"type":"operator","version":2}"#;

/// One operator with one account with one user.
#[derive(Debug)]
pub(super) struct Credentials {
    /// Lines for the server's configuration.
    pub(super) config: String,
    /// The user's `.creds` file.
    pub(super) file: PathBuf,
}

impl Credentials {
    /// Makes the three keys, and the user's file in `folder`.
    #[expect(clippy::expect_used, reason = "without credentials there is no such server")]
    pub(super) fn write(folder: &Path) -> Self {
        Self::try_write(folder).expect("credentials for the server under test")
    }

    fn try_write(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let (operator, account, user) = (KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user());
        let of_operator = token(&operator, &operator, "operator", OPERATOR)?;
        let of_account = token(&operator, &account, "account", ACCOUNT)?;
        let of_user = token(&account, &user, "user", USER)?;
        let config = format!(
            "operator: \"{of_operator}\"\nresolver: MEMORY\nresolver_preload {{ {}: \"{of_account}\" }}\n",
            account.public_key()
        );
        let file = folder.join("user.creds");
        let seed = user.seed()?;
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        fs::write(&file, text)?;
        Ok(Self { config, file })
    }
}

/// A JWT in which `issuer` says what `subject` may do.
fn token(issuer: &KeyPair, subject: &KeyPair, name: &str, rights: &str) -> Result<String, nkeys::error::Error> {
    let (issuer_key, subject_key) = (issuer.public_key(), subject.public_key());
    let claims = format!(
        r#"{{"jti":"{name}","iat":1700000000,"iss":"{issuer_key}","name":"{name}","sub":"{subject_key}","nats":{rights}}}"#
    );
    let head = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"ed25519-nkey"}"#);
    let signed = format!("{head}.{}", URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(issuer.sign(signed.as_bytes())?);
    Ok(format!("{signed}.{signature}"))
}
