//! The email-service of Tidings: it mails a welcome to every user that is created, once.

mod event;
mod in_hand;
mod key;
mod mailed;
mod mailer;
mod templates;

pub use event::{InvalidUser, ProtoUser, UserCreated};
pub use key::MailKey;
pub use mailed::{Mailed, MailedError};
pub use mailer::{InvalidAddress, Limits, Mail, MailUrlError, Mailer, SendError, Sent};
pub use templates::{Content, TemplateError, Templates};
