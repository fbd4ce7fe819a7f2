//! The handler of `user.created`: one welcome mail for one user.

use std::sync::Arc;

use lettre::message::Mailbox;
use tidings::{Failure, Reject, State};
use tracing::info;

use crate::event::UserCreated;
use crate::key::MailKey;
use crate::mailer::{Mail, Mailer, Sent};
use crate::templates::Templates;

/// What the handler works with.
#[derive(Debug, Clone)]
pub struct Welcome(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    templates: Templates,
    mailer: Mailer,
    from: Mailbox,
}

impl Welcome {
    /// Mails from `from`.
    #[must_use]
    pub fn new(templates: Templates, mailer: Mailer, from: Mailbox) -> Self {
        Self(Arc::new(Parts { templates, mailer, from }))
    }
}

/// Mails `user`; that it is done once is its layer's ([`once_for_a_user`](crate::once_for_a_user)).
///
/// # Errors
/// What can never go is rejected; all else is worth another attempt.
///
/// # Cancel safety
/// A dropped attempt over SMTP may have mailed the user without a record of it.
pub async fn welcome(user: UserCreated, State(Welcome(parts)): State<Welcome>) -> Result<(), Failure> {
    let mail = parts.write(&user)?;
    match parts.mailer.send(&mail).await {
        Ok(Sent::File(path)) => info!(path = %path.display(), "wrote the welcome mail"),
        Ok(Sent::Accepted) => info!(key = %mail.key(), "the mail server took the welcome mail"),
        Err(error) if error.is_permanent() => return Err(error).reject(),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

impl Parts {
    fn write(&self, user: &UserCreated) -> Result<Mail, Failure> {
        let content = self.templates.welcome(user).reject()?;
        Mail::new(MailKey::of(&user.id), crate::NAME, &self.from, &user.name, &user.email, content).reject()
    }
}

#[cfg(test)]
mod tests;
