//! Certificates for a server under test: an authority made for it, never seen before or after.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};

/// The PEM files of one server.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) authority: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificates {
    /// Makes an authority, and a certificate of it for `localhost` and `127.0.0.1`, in `folder`.
    #[expect(clippy::expect_used, reason = "without certificates there is no TLS server")]
    pub(super) fn write(folder: &Path) -> Self {
        Self::try_write(folder).expect("certificates for the server under test")
    }

    fn try_write(folder: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.distinguished_name.push(DnType::CommonName, "Tidings test authority");
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let names = ["localhost", "127.0.0.1"].map(str::to_owned);
        let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
        Ok(Self {
            authority: put(folder, "ca.pem", &authority.pem())?,
            certificate: put(folder, "certificate.pem", &certificate.pem())?,
            key: put(folder, "key.pem", &key.serialize_pem())?,
        })
    }
}

fn put(folder: &Path, name: &str, text: &str) -> std::io::Result<PathBuf> {
    let path = folder.join(name);
    fs::write(&path, text)?;
    Ok(path)
}
