//! The in-process broker of Tidings.
