//! Passwords: hashed and checked off the async threads, few at a time.
//!
//! One hash takes 19 MiB and some 20 ms of a core, so that a rush of logins must
//! wait in line rather than take the machine. Who logs in, and where hashes are
//! kept, is not decided here.

mod scheme;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use tokio::{
    sync::{AcquireError, Semaphore},
    task::JoinError,
    time::Instant,
};
use tracing::{Span, warn};

use crate::domain::Password;

/// What every failed login takes at least; both kinds of hash stay below it.
pub const FAILED_LOGIN: Duration = Duration::from_millis(150);

/// Hashes and checks passwords, a bounded number at once.
#[derive(Clone, Debug)]
pub struct Passwords {
    slots: Arc<Semaphore>,
}

/// What checking a password came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the user's.
    Right {
        /// The hash to store instead, when the stored one is of an older kind.
        renewed: Option<String>,
    },
    /// It is not, or there is no user to have it.
    Wrong,
}

/// Hashing failed for a reason that no caller can mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// No salt, or no memory for the hash.
    #[error("a password cannot be hashed")]
    Hash(#[from] argon2::password_hash::Error),
    /// The process is ending.
    #[error("the hashing threads have stopped")]
    Stopped(#[from] JoinError),
    /// The process is ending.
    #[error("the hashing line is closed")]
    Closed(#[from] AcquireError),
}

impl Passwords {
    /// Hashes at most `at_once` passwords at one time; others wait their turn.
    #[must_use]
    pub fn new(at_once: NonZeroUsize) -> Self {
        Self { slots: Arc::new(Semaphore::new(at_once.get())) }
    }

    /// The hash to store for a new user.
    ///
    /// # Errors
    /// [`HashError`], when the machine gives no random bytes or the process ends.
    ///
    /// # Cancel safety
    /// Nothing is kept; a hash that has begun is finished and dropped.
    pub async fn hash(&self, password: Password) -> Result<String, HashError> {
        self.run(move || scheme::hash(password.as_bytes())).await
    }

    /// Checks `password` against the hash of the user that was found, or, when
    /// none was, does the same work in vain.
    ///
    /// # Errors
    /// As [`hash`](Self::hash).
    ///
    /// # Cancel safety
    /// As [`hash`](Self::hash).
    pub async fn check(&self, password: String, stored: Option<String>) -> Result<Verdict, HashError> {
        self.run(move || judge(&password, stored.as_deref())).await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> argon2::password_hash::Result<T> + Send + 'static,
    ) -> Result<T, HashError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await?;
        let span = Span::current();
        let done = tokio::task::spawn_blocking(move || {
            // Held by the work, not by the caller, who may be gone before it ends.
            let _slot = slot;
            span.in_scope(work)
        });
        Ok(done.await??)
    }
}

fn judge(password: &str, stored: Option<&str>) -> argon2::password_hash::Result<Verdict> {
    let known = stored.filter(|stored| scheme::is_readable(stored));
    if stored.is_some() && known.is_none() {
        warn!("a stored password hash is neither argon2 nor bcrypt; its user cannot log in");
    }
    let password = password.as_bytes();
    if !scheme::fits(password, known.unwrap_or(scheme::DECOY)) {
        return Ok(Verdict::Wrong);
    }
    let renewed = match known {
        None => return Ok(Verdict::Wrong),
        Some(stored) if scheme::is_current(stored) => None,
        Some(_) => Some(scheme::hash(password)?),
    };
    Ok(Verdict::Right { renewed })
}

/// Waits until a failed login that began at `began` may be answered, so that the answer's time does not tell what it was spent
/// on.
pub async fn even_out(began: Instant) {
    tokio::time::sleep_until(began + FAILED_LOGIN).await;
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const ONE: NonZeroUsize = NonZeroUsize::MIN;

    #[tokio::test]
    async fn a_login_with_the_right_password_renews_an_old_hash_only() {
        let passwords = Passwords::new(ONE);
        let old = bcrypt::hash("test1234", 4).unwrap();
        let Verdict::Right { renewed } = passwords.check("test1234".into(), Some(old)).await.unwrap() else {
            panic!("the password is right");
        };
        let renewed = renewed.expect("bcrypt is replaced");
        let verdict = passwords.check("test1234".into(), Some(renewed)).await;
        assert_eq!(verdict.unwrap(), Verdict::Right { renewed: None });
    }

    #[tokio::test]
    async fn wrong_passwords_missing_users_and_unreadable_hashes_are_alike() {
        let passwords = Passwords::new(ONE);
        let stored = bcrypt::hash("test1234", 4).unwrap();
        for stored in [None, Some(String::new()), Some("plain".into()), Some(stored)] {
            let verdict = passwords.check("plain".into(), stored).await;
            assert_eq!(verdict.unwrap(), Verdict::Wrong);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_more_hashes_run_at_once_than_allowed() {
        let passwords = Passwords::new(ONE);
        let (holding, held) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let passwords = passwords.clone();
            async move {
                let wait = move || {
                    let _ = held.recv();
                    Ok(())
                };
                passwords.run(wait).await
            }
        });
        while passwords.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let second = passwords.hash(Password::new("password".into()).unwrap());
        let mut second = std::pin::pin!(second);
        assert!(second.as_mut().now_or_never().is_none());
        first.abort();
        assert!(second.as_mut().now_or_never().is_none(), "the work holds the slot");
        holding.send(()).unwrap();
        second.await.unwrap();
    }
}
