//! The generated gRPC code, and the descriptors that reflection shows.

#![allow(missing_docs, unreachable_pub, clippy::pedantic, reason = "generated from proto/user.proto, which says what is what")]

use std::fmt;

include!("proto/go.micro.srv.user.rs");

/// `proto/user.proto`, compiled, for server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!("proto/user.bin");

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("valid", &self.valid).finish_non_exhaustive()
    }
}
