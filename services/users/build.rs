//! Generates the gRPC code, and the descriptors that server reflection shows,
//! from `proto/user.proto`; protox reads it, so that no protoc is needed.

#![allow(clippy::print_stdout, reason = "this is how a build script talks to cargo")]

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_source_info(true).open_file("user.proto")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("user.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        // Both may hold a secret, which a derived Debug would print.
        .skip_debug(["go.micro.srv.user.User", "go.micro.srv.user.Token"])
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
