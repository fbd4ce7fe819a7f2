//! One login, from its two texts to the user's id.

use tokio::time::Instant;
use tonic::Status;
use tracing::warn;

use super::Users;
use crate::{
    domain::UserId,
    password::{Verdict, even_out},
};

impl Users {
    /// Whose e-mail and password these are.
    ///
    /// A wrong e-mail and a wrong password cost the same work, take the same time and get the same answer, so that nobody
    /// learns who has an account.
    pub(super) async fn login(&self, email: &str, password: String) -> Result<UserId, Status> {
        let began = Instant::now();
        let found = self.store.credentials(email).await?;
        let stored = found.as_ref().map(|found| found.hash.clone());
        match (self.passwords.check(password, stored).await?, found) {
            (Verdict::Right { renewed }, Some(found)) => {
                if let Some(hash) = renewed
                    && let Err(error) = self.store.renew(&found, &hash).await
                {
                    // The old hash still holds, and the next login tries again.
                    warn!(user = %found.user, error = &error as &dyn std::error::Error, "a password hash was not renewed");
                }
                Ok(found.user)
            }
            _ => {
                even_out(began).await;
                Err(Status::unauthenticated("e-mail or password is wrong"))
            }
        }
    }
}
