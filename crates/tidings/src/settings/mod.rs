//! Settings from flags, environment and file, by one table.
