//! derive(Event) for Tidings.
