//! Logs, with the trace's id on every line of an event's way.
