//! A service: a named, versioned program with its lifecycle.
