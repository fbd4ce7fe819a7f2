//! Private servers and a test service for Tidings programs.
