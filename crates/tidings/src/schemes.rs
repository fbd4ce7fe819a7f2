//! The table of broker schemes.
