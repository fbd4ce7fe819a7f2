//! The file with the key that signs tokens: made on first start, refused when it
//! is not safe or not a key.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{Ed25519KeyPair, KeyPair},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use tempfile::NamedTempFile;

use super::Algorithm;

/// No key of either kind is longer, and a wrong path must not fill the memory.
const LARGEST_FILE: u64 = 16 * 1024;
/// Shortest secret that HS256 allows, in bytes (RFC 7518, 3.2).
const SHORTEST_SECRET: usize = 32;
/// What stands before the 32 secret bytes in the PKCS#8 form of an Ed25519 key
/// (RFC 8410, 7), the form that `openssl genpkey -algorithm ed25519` writes.
const PKCS8_ED25519: &[u8; 16] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// Why the key file cannot be used. Names the file and the way out, never what
/// is in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file cannot be opened or read.
    #[error("auth-key: cannot read {}", path.display())]
    Read {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A first key cannot be written.
    #[error("auth-key: cannot create {}", path.display())]
    Create {
        /// The key file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may use the file.
    #[error(
        "auth-key: {} can be used by others (mode {mode:03o}); `chmod 600` it",
        path.display()
    )]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is no Ed25519 key.
    #[error(
        "auth-key: {} is not an Ed25519 key in PKCS#8 PEM form, \
         as `openssl genpkey -algorithm ed25519` writes it",
        path.display()
    )]
    NotEd25519 {
        /// The key file.
        path: PathBuf,
    },
    /// The file is no secret for HS256.
    #[error(
        "auth-key: {} is not a secret for HS256, which is one line of at least 32 \
         characters, as `openssl rand -base64 48` writes it",
        path.display()
    )]
    NotSecret {
        /// The key file.
        path: PathBuf,
    },
}

/// Both halves of a key.
pub(super) struct Keys {
    pub(super) sign: EncodingKey,
    pub(super) verify: DecodingKey,
}

/// Reads the key at `path`; where there is none, makes one, of which the first of
/// several processes wins.
pub(super) fn open(path: &Path, algorithm: Algorithm) -> Result<Keys, KeyError> {
    let text = match read(path) {
        Err(KeyError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            create(path, algorithm).map_err(|source| KeyError::Create { path: path.to_owned(), source })?;
            read(path)?
        }
        other => other?,
    };
    let path = || path.to_owned();
    match algorithm {
        Algorithm::EdDsa => ed25519(&text).ok_or_else(|| KeyError::NotEd25519 { path: path() }),
        Algorithm::Hs256 => secret(&text).ok_or_else(|| KeyError::NotSecret { path: path() }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Asked of the open file, so that it cannot be another one by now.
    refuse_exposed(path, &file.metadata().map_err(failed)?)?;
    let mut text = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(unix)]
fn refuse_exposed(path: &Path, found: &std::fs::Metadata) -> Result<(), KeyError> {
    use std::os::unix::fs::PermissionsExt;

    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyError::Exposed { path: path.to_owned(), mode })
}

#[cfg(not(unix))]
fn refuse_exposed(_: &Path, _: &std::fs::Metadata) -> Result<(), KeyError> {
    Ok(())
}

fn create(path: &Path, algorithm: Algorithm) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder)?;
    // Complete before it has its name, and readable by its owner alone.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(generate(algorithm)?.as_bytes())?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Err(lost) if lost.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(failed) => Err(failed.error),
        Ok(_) => sync_folder(folder),
    }
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

fn generate(algorithm: Algorithm) -> io::Result<String> {
    let mut secret = [0; 32];
    SystemRandom::new().fill(&mut secret).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(match algorithm {
        Algorithm::Hs256 => format!("{}\n", URL_SAFE_NO_PAD.encode(secret)),
        Algorithm::EdDsa => {
            let der = [PKCS8_ED25519.as_slice(), &secret].concat();
            let body = base64::engine::general_purpose::STANDARD.encode(der);
            format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
        }
    })
}

fn ed25519(text: &[u8]) -> Option<Keys> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(text).ok()?;
    let der = der.secret_pkcs8_der();
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some(Keys { sign: EncodingKey::from_ed_der(der), verify: DecodingKey::from_ed_der(pair.public_key().as_ref()) })
}

fn secret(text: &[u8]) -> Option<Keys> {
    let text = text.trim_ascii_end();
    let is_line = !text.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
    (is_line && text.len() >= SHORTEST_SECRET)
        .then(|| Keys { sign: EncodingKey::from_secret(text), verify: DecodingKey::from_secret(text) })
}
