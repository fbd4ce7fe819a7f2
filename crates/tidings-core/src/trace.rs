//! W3C trace context, as the CloudEvents distributed tracing extension carries it.

use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::Text;

/// Where in a distributed trace something happened: `traceparent`, with `tracestate` passed on as it came.
///
/// See <https://www.w3.org/TR/trace-context/>.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: TraceId,
    span_id: u64,
    flags: u8,
    state: Option<Text>,
}

/// A `traceparent` that breaks the W3C form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent: expected 00-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
pub struct InvalidTraceparent;

impl TraceContext {
    /// The longest `tracestate` that is passed on, in bytes (what the W3C asks of everyone).
    pub const MAX_STATE: usize = 512;
    const SAMPLED: u8 = 1;

    /// A new trace that begins here.
    #[must_use]
    pub fn start() -> Self {
        Self { trace_id: TraceId(Uuid::new_v4().into_bytes()), span_id: span_id(), flags: Self::SAMPLED, state: None }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { span_id: span_id(), ..self.clone() }
    }

    /// With the vendor's `tracestate`; one that is too long is left out, as the W3C allows.
    #[must_use]
    pub fn with_state(mut self, state: impl Into<Text>) -> Self {
        let state = state.into();
        self.state =
            (!state.is_empty() && state.len() <= Self::MAX_STATE && !state.chars().any(char::is_control)).then_some(state);
        self
    }

    /// The vendor's `tracestate`.
    #[must_use]
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The trace's id, which prints as 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> TraceId {
        self.trace_id
    }

    /// The `traceparent`, written into a buffer on the stack.
    #[must_use]
    pub fn traceparent(&self) -> Traceparent {
        let mut text = *b"00-................................-................-..";
        hex(&mut text[3..35], &self.trace_id.0);
        hex(&mut text[36..52], &self.span_id.to_be_bytes());
        hex(&mut text[53..55], &[self.flags]);
        Traceparent(text)
    }
}

fn span_id() -> u64 {
    // Half of a random UUID that holds no version bits; the W3C forbids only zero.
    Uuid::new_v4().as_u64_pair().1.rotate_left(8) | 1
}

fn hex(to: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in to.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

impl FromStr for TraceContext {
    type Err = InvalidTraceparent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let (Some(version), Some(trace), Some(span), Some(flags)) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidTraceparent);
        };
        // A later version may have more parts; version 00 may not, and ff is forbidden.
        let version = digits(version, 2)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(InvalidTraceparent);
        }
        let trace_id = digits(trace, 32)?;
        let span_id = u64::try_from(digits(span, 16)?).map_err(|_| InvalidTraceparent)?;
        let flags = u8::try_from(digits(flags, 2)?).map_err(|_| InvalidTraceparent)?;
        if trace_id == 0 || span_id == 0 {
            return Err(InvalidTraceparent);
        }
        Ok(Self { trace_id: TraceId(trace_id.to_be_bytes()), span_id, flags, state: None })
    }
}

fn digits(text: &str, count: usize) -> Result<u128, InvalidTraceparent> {
    if text.len() != count || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return Err(InvalidTraceparent);
    }
    u128::from_str_radix(text, 16).map_err(|_| InvalidTraceparent)
}

/// The id of a trace; prints as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// A `traceparent` as text.
#[derive(Clone, Copy)]
pub struct Traceparent([u8; 55]);

impl Traceparent {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Debug for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn the_examples_of_the_standard_come_back_as_they_were() {
        let context: TraceContext = EXAMPLE.parse().unwrap();
        assert_eq!(context.traceparent().as_str(), EXAMPLE);
        assert_eq!(context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    }

    #[test]
    fn a_child_keeps_the_trace_and_the_state() {
        let parent = TraceContext::start().with_state("vendor=1");
        let child = parent.child();
        assert_eq!(child.trace_id(), parent.trace_id());
        assert_ne!(child.traceparent().as_str(), parent.traceparent().as_str());
        assert_eq!(child.state(), Some("vendor=1"));
        assert_eq!(
            child.traceparent().as_str().parse::<TraceContext>().unwrap().traceparent().as_str(),
            child.traceparent().as_str()
        );
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        for bad in [
            "",
            "00",
            "00-0-0-0",
            &EXAMPLE[..54],
            &EXAMPLE.to_uppercase(),
            &format!("{EXAMPLE}-more"),
            &EXAMPLE.replacen("00-", "ff-", 1),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473é-00f067aa0ba902b7-01",
        ] {
            assert!(bad.parse::<TraceContext>().is_err(), "{bad}");
        }
        assert!("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later".parse::<TraceContext>().is_ok());
    }
}
