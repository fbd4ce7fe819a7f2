//! Hashing and checking, on the caller's thread: argon2id for new hashes, bcrypt
//! for those that the tutorial's service wrote.

use argon2::{
    Argon2,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

/// How the hashes of today's settings begin: OWASP's argon2id with 19 MiB, two
/// passes, one lane, which are the crate's defaults too (a test holds them to it).
const CURRENT: &str = "$argon2id$v=19$m=19456,t=2,p=1$";

/// Checked when there is no hash to check, so that a missing user costs what a
/// wrong password does. Random bytes; no password is known to fit.
pub(super) const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
    4ttkVIizqUptA9D1k/MgtQ$JE9PuaF4pgmhkFvJWSBWdaobnjLHZCwAZnZgEFNHpH8";

/// A new hash in PHC form, with a salt of its own.
pub(super) fn hash(password: &[u8]) -> password_hash::Result<String> {
    Ok(Argon2::default().hash_password(password)?.to_string())
}

/// Whether `stored` is a hash of `password`; one that cannot be read fits nothing.
pub(super) fn fits(password: &[u8], stored: &str) -> bool {
    if is_bcrypt(stored) {
        // Beyond 72 bytes bcrypt reads nothing, as the tutorial's did not.
        return bcrypt::verify(password, stored).unwrap_or(false);
    }
    PasswordHash::new(stored).is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok())
}

/// Whether `stored` can be checked at all.
pub(super) fn is_readable(stored: &str) -> bool {
    if is_bcrypt(stored) { stored.parse::<bcrypt::HashParts>().is_ok() } else { PasswordHash::new(stored).is_ok() }
}

/// Whether `stored` is what [`hash`] would write today.
pub(super) fn is_current(stored: &str) -> bool {
    stored.starts_with(CURRENT)
}

fn is_bcrypt(stored: &str) -> bool {
    ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| stored.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::password::FAILED_LOGIN;

    /// Written by golang.org/x/crypto/bcrypt, `DefaultCost`, of `test123`.
    const GO: &str = "$2a$10$DI8yy7IV7SwBZRQh2pD66OqoKJPbvL8EB1GbwmSdru2RS0EkXmoW2";

    #[test]
    fn a_new_hash_has_todays_settings_and_fits_its_password_alone() {
        let stored = hash(b"correct horse").unwrap();
        assert!(is_current(&stored), "{stored}");
        assert!(fits(b"correct horse", &stored));
        assert!(!fits(b"correct horsf", &stored));
        assert_ne!(stored, hash(b"correct horse").unwrap(), "each has its own salt");
    }

    #[test]
    fn the_decoy_costs_what_a_real_hash_costs() {
        assert!(is_readable(DECOY) && is_current(DECOY));
        assert!(!fits(b"", DECOY));
    }

    #[test]
    fn each_kind_of_check_takes_less_than_a_failed_login() {
        for stored in [DECOY, GO] {
            // Of a few, for a busy machine makes any one of them slow.
            let times = (0..8).map(|_| {
                let began = Instant::now();
                assert!(!fits(b"wrong", stored));
                began.elapsed()
            });
            let best = times.min().unwrap();
            assert!(best < FAILED_LOGIN, "{stored}: {best:?}");
        }
    }

    #[test]
    fn the_tutorials_hash_fits_but_is_not_current() {
        assert!(fits(b"test123", GO));
        assert!(!fits(b"test124", GO));
        assert!(is_readable(GO) && !is_current(GO));
    }

    #[test]
    fn like_the_tutorial_bcrypt_reads_72_bytes() {
        let stored = bcrypt::hash("x".repeat(72), 4).unwrap();
        assert!(fits("x".repeat(100).as_bytes(), &stored));
        assert!(!fits("x".repeat(71).as_bytes(), &stored));
    }

    #[test]
    fn what_is_no_hash_fits_nothing() {
        for stored in ["", "test123", "$2a$", "$2a$99$x", "$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$$", "$1$ab$cd"] {
            assert!(!fits(b"test123", stored), "{stored}");
            assert!(!is_readable(stored), "{stored}");
        }
    }

    #[test]
    fn an_argon2_hash_of_other_settings_is_checked_and_then_replaced() {
        let weak = Argon2::from(argon2::Params::new(64, 1, 1, None).unwrap()).hash_password(b"password").unwrap().to_string();
        assert!(fits(b"password", &weak) && !is_current(&weak));
    }
}
