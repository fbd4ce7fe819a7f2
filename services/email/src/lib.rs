//! The email-service of Tidings: it mails a welcome to every user that is created, once.
//!
//! [`builder`] has its settings, [`assemble`] its handler; the program is both and `run`. It knows nothing of the service that
//! creates users: only the topic, and the two fields that [`UserCreated`] asks for.

mod event;
mod handler;
mod key;
mod mailed;
mod mailer;
mod settings;
mod templates;

use tidings::service::Builder;
use tidings::settings::Group;
use tidings::{Handler, Handlers, Order, Service};

pub use event::{InvalidUser, ProtoUser, UserCreated};
pub use handler::{Welcome, welcome};
pub use key::MailKey;
pub use mailed::once_for_a_user;
pub use mailer::{InvalidAddress, Limits, Mail, MailUrlError, Mailer, SendError, Sent, sender};
pub use templates::{Content, TemplateError, Templates};

use settings::MailSettings;

/// What the service is called, and what its mails' ids end with.
const NAME: &str = "email";

/// The service before its settings are read.
pub fn builder() -> Builder {
    let builder = Service::builder(NAME, env!("CARGO_PKG_VERSION"))
        .about("Mails a welcome to every user that is created, once")
        .without(Group::Grpc)
        .without(Group::Http)
        .default("admin", "127.0.0.1:9102")
        // A mail server is not to see 64 connections of one client.
        .default("concurrency", "8");
    settings::table().into_iter().fold(builder, Builder::setting)
}

/// Opens what the handler needs, as the settings say, and adds the handler.
///
/// # Errors
/// When a setting, a template, the mail folder or the database cannot be used; the error names the setting or file.
///
/// # Cancel safety
/// A dropped future leaves nothing open; the folder and the table may have been made.
pub async fn assemble(service: Service) -> tidings::Result<Service> {
    let settings = MailSettings::read(service.settings())?;
    let templates = Templates::open(settings.templates.as_deref())?;
    let mailer = match Mailer::open(&settings.url, &settings.from, settings.limits) {
        Err(wrong @ MailUrlError::Url(_)) => return Err(service.settings().refuse("mail", &wrong.to_string()).into()),
        opened => opened?,
    };
    tracing::info!(to = mailer.target(), from = %settings.from, "mail goes out");
    let once = once_for_a_user(&service.database().await?).await?;
    let state = Welcome::new(templates, mailer, settings.from);
    // Unordered, so that a mail that waits for its next try may go back to the broker for that time.
    let handlers = Handlers::new().on(welcome.retry(settings.retry).order(Order::None)).layer(once).with_state(state);
    Ok(service.handlers(handlers))
}
