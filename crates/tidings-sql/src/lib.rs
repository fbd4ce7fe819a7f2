//! The SQLite broker of Tidings, its embedded durable default.
