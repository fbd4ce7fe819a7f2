//! `src/proto/` holds what `proto/user.proto` generates: code for messages and calls, and the descriptors that server reflection shows.
//!
//! It is committed, for the compilers of `.proto` files would take a tenth of a first build; protox reads it, so that no protoc
//! is needed. A service of your own generates at each build: `examples/build.rs`.

use std::{env, fs, path::Path};

/// To write it anew: `GENERATED=write cargo test -p users --test generated`.
#[test]
fn the_committed_code_is_what_the_proto_generates() {
    let users = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made = tempfile::tempdir().unwrap();
    let mut compiler = protox::Compiler::new([users.join("proto")]).unwrap();
    compiler.include_source_info(true).open_file("user.proto").unwrap();
    fs::write(made.path().join("user.bin"), compiler.encode_file_descriptor_set()).unwrap();
    tonic_prost_build::configure()
        .out_dir(made.path())
        // Both may hold a secret, which a derived Debug would print.
        .skip_debug(["go.micro.srv.user.User", "go.micro.srv.user.Token"])
        .compile_fds(compiler.file_descriptor_set())
        .unwrap();

    for file in ["user.bin", "go.micro.srv.user.rs"] {
        let (made, committed) = (fs::read(made.path().join(file)).unwrap(), users.join("src/proto").join(file));
        if env::var_os("GENERATED").is_some() {
            fs::write(&committed, &made).unwrap();
        }
        assert!(
            fs::read(&committed).unwrap_or_default() == made,
            "{} is not what user.proto generates: `GENERATED=write cargo test -p users --test generated`",
            committed.display()
        );
    }
}
