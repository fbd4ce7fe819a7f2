//! One mail, ready to be sent: what was checked here cannot break a header or an SMTP command.

use lettre::address::{AddressError, Envelope};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::{Address, Message};

use crate::key::MailKey;
use crate::templates::Content;

/// The longest address that SMTP can carry in a path (RFC 5321, section 4.5.3.1.3), in bytes.
const LONGEST_ADDRESS: usize = 254;

/// A mail with its key.
#[derive(Debug)]
pub struct Mail {
    key: MailKey,
    to: String,
    message: Message,
}

/// An address that no mail can be sent to or from. The error does not quote it.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAddress {
    /// It does not have the form of an address.
    #[error("the address is not one that mail can be sent to")]
    Form(#[from] AddressError),
    /// It is longer than SMTP allows.
    #[error("the address is longer than {LONGEST_ADDRESS} bytes")]
    Long,
    /// It has a control character in it.
    #[error("the address has a control character in it")]
    Control,
    /// The headers could not be put together.
    #[error("the mail could not be put together")]
    Message(#[from] lettre::error::Error),
}

impl Mail {
    /// Puts a mail together, with `Message-ID: <key@domain>`.
    ///
    /// `address` is one bare address, never a list or a name with one.
    ///
    /// # Errors
    /// [`InvalidAddress`] when `address` is not one.
    pub fn new(
        key: MailKey,
        domain: &str,
        from: &Mailbox,
        name: &str,
        address: &str,
        content: Content,
    ) -> Result<Self, InvalidAddress> {
        // lettre panics on a name with a line break.
        let name = name.replace(char::is_control, " ");
        let name = Some(name.trim()).filter(|name| !name.is_empty()).map(str::to_owned);
        let address = checked(address)?;
        // Said outright: lettre would read it back out of the header, where it does not find every address again.
        let envelope = Envelope::new(Some(from.email.clone()), vec![address.clone()])?;
        // RFC 3834: nobody's out-of-office note should come back.
        let auto = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message = Message::builder()
            .message_id(Some(format!("<{key}@{domain}>")))
            .from(from.clone())
            .to(Mailbox::new(name, address.clone()))
            .envelope(envelope)
            .subject(content.subject)
            .raw_header(HeaderValue::new(auto, "auto-generated".to_owned()))
            .multipart(MultiPart::alternative_plain_html(content.text, content.html))?;
        Ok(Self { key, to: address.to_string(), message })
    }

    /// The key that the mail keeps however often it is sent.
    #[must_use]
    pub fn key(&self) -> &MailKey {
        &self.key
    }

    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    /// The recipient's address.
    pub(super) fn to(&self) -> &str {
        &self.to
    }
}

/// The sender that `text` names: an address, or a name and one.
///
/// # Errors
/// [`InvalidAddress`] when mail cannot be from it; that is found out here and not with the first mail.
pub fn sender(text: &str) -> Result<Mailbox, InvalidAddress> {
    if text.chars().any(char::is_control) {
        return Err(InvalidAddress::Control);
    }
    let said: Mailbox = text.parse()?;
    let address = checked(said.email.as_ref())?;
    // Any server must be able to take it.
    if !address.user().is_ascii() {
        return Err(InvalidAddress::Form(AddressError::InvalidUser));
    }
    let from = Mailbox::new(said.name, address);
    let content = Content { subject: String::new(), text: String::new(), html: String::new() };
    Mail::new(MailKey::of(""), "probe", &from, "", from.email.as_ref(), content)?;
    Ok(from)
}

/// The address, its domain in ASCII: then only letters outside ASCII before the @ need a server with SMTPUTF8.
fn checked(address: &str) -> Result<Address, InvalidAddress> {
    if address.chars().any(char::is_control) {
        return Err(InvalidAddress::Control);
    }
    let address: Address = address.parse()?;
    let ascii = match (address.domain().is_ascii(), url::Host::parse(address.domain())) {
        (false, Ok(url::Host::Domain(domain))) => Address::new(address.user(), domain)?,
        _ => address,
    };
    let text: &str = ascii.as_ref();
    match text.len() > LONGEST_ADDRESS {
        true => Err(InvalidAddress::Long),
        false => Ok(ascii),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::mailer) fn mail_to(id: &str, name: &str, address: &str) -> Mail {
        try_mail_to(id, name, address).unwrap()
    }

    fn try_mail_to(id: &str, name: &str, address: &str) -> Result<Mail, InvalidAddress> {
        let content = Content {
            subject: format!("Welcome, {name}"),
            text: "Hello,\n.\nyou are in".to_owned(),
            html: "<p>Hello</p>".to_owned(),
        };
        Mail::new(MailKey::of(id), "email", &from(), name, address, content)
    }

    pub(in crate::mailer) fn from() -> Mailbox {
        "Tidings <welcome@localhost>".parse().unwrap()
    }

    fn head(mail: &Mail) -> String {
        let text = String::from_utf8(mail.message().formatted()).unwrap();
        text.split_once("\r\n\r\n").unwrap().0.to_owned()
    }

    #[test]
    fn the_message_id_is_the_key_at_the_service() {
        let head = head(&mail_to("a b", "Ada", "ada@example.com"));
        assert!(head.contains("Message-ID: <a-.20b@email>\r\n"), "{head}");
        assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
    }

    #[test]
    fn a_name_in_any_script_is_encoded() {
        let head = head(&mail_to("1", "Ада Лавлейс, 愛", "ada@example.com"));
        assert!(head.is_ascii());
        assert!(head.contains("To: =?utf-8?b?0JDQtNCwINCb0LDQstC70LXQudGBLCDmhJs=?="), "{head}");
    }

    #[test]
    fn a_name_cannot_add_a_header_or_a_recipient() {
        for name in
            ["Ada\r\nBcc: eve@example.com", "Ada\nBcc: eve@example.com", "Ada\" <eve@example.com>, \"x", "a\0b\u{85}Bcc: x"]
        {
            let mail = mail_to("1", name, "ada@example.com");
            let head = head(&mail);
            assert_eq!(mail.message().envelope().to().len(), 1);
            assert!(head.lines().all(|line| !line.to_lowercase().starts_with("bcc")), "{head}");
            assert_eq!(head.lines().filter(|line| line.starts_with("To:")).count(), 1, "{head}");
        }
    }

    #[test]
    fn an_address_is_one_address_and_no_error_quotes_it() {
        for address in [
            "",
            "ada",
            "ada@example.com, eve@example.com",
            "ada@example.com\r\nBcc: eve@example.com",
            "Ada <ada@example.com>",
            "ada@example.com> SIZE=1",
            "\"a\r\nb\"@example.com",
            "ada@exa mple.com",
            &format!("{}@{}.example.com", "a".repeat(60), "b.".repeat(100)),
        ] {
            let error = try_mail_to("1", "Ada", address).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("example"), "{error:?}");
        }
    }

    #[test]
    fn a_domain_in_any_script_is_sent_in_ascii() {
        let mail = mail_to("1", "Ada", "ada@bücher.example");
        assert_eq!(mail.to(), "ada@xn--bcher-kva.example");
        let mail = mail_to("1", "Ada", "ада@bücher.example");
        assert_eq!(mail.to(), "ада@xn--bcher-kva.example");
        let mail = mail_to("1", "Ada", "ada@[127.0.0.1]");
        assert_eq!(mail.to(), "ada@[127.0.0.1]");
    }

    #[test]
    fn a_sender_is_an_address_with_or_without_a_name() {
        for (text, is) in [
            ("welcome@localhost", "welcome@localhost"),
            ("Tidings <welcome@example.com>", "Tidings <welcome@example.com>"),
            ("\"Böll, H.\" <h@bücher.example>", "\"Böll, H.\" <h@xn--bcher-kva.example>"),
        ] {
            assert_eq!(sender(text).unwrap().to_string(), is);
        }
        for text in ["", "welcome", "a@b, c@d", "Tidings\r\nBcc: x <a@b>", "ж@example.com"] {
            assert!(sender(text).is_err(), "{text}");
        }
    }
}
