//! Generates the code of `proto/orders.proto` with protox: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    tonic_prost_build::configure().compile_fds(protox::compile(["orders.proto"], ["proto"])?)?;
    Ok(())
}
