//! Percent-encoding of attribute values, as the HTTP and NATS bindings ask for it.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// CloudEvents HTTP binding, section 3.1.3.2: blanks, `"`, `%`, and all that is not printable ASCII.
const VALUE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// A value as it goes on the wire; borrowed when there is nothing to encode.
#[must_use]
pub fn encode_value(value: &str) -> Cow<'_, str> {
    utf8_percent_encode(value, VALUE).into()
}

/// A value as it was before; what is not an escape stays as it is, what is not UTF-8 becomes U+FFFD.
#[must_use]
pub fn decode_value(value: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    percent_decode_str(value).decode_utf8_lossy()
}
