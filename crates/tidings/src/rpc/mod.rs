//! gRPC servers, with health and reflection.
