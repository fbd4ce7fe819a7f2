//! Spans of attempts that are made when a line is written, and not for each message.
//!
//! A span formats its fields when it is made, which costs more than all else that is done for a message; and most messages write
//! no line.

use std::fmt;

use tracing::{Event, Subscriber, dispatcher};
use tracing_subscriber::{
    Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

use crate::{delivery::span_now, trace};

/// Marks the subscriber that makes the spans of attempts itself.
#[derive(Debug)]
pub(super) struct MakesSpans;

impl<S: Subscriber> Layer<S> for MakesSpans {}

/// Whether lines are written by a subscriber that makes the spans of attempts itself.
pub(crate) fn makes_spans() -> bool {
    dispatcher::get_default(|dispatch| dispatch.downcast_ref::<MakesSpans>().is_some())
}

/// Writes a line inside the span of the attempt that is being made.
#[derive(Debug)]
pub(super) struct Late<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Late<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match makes_spans().then(|| trace::with_attempt(span_now)).flatten() {
            Some(span) => span.in_scope(|| self.0.format_event(context, writer, event)),
            None => self.0.format_event(context, writer, event),
        }
    }
}
