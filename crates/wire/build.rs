//! Generates the gRPC messages and services with protox, so that no protoc is needed.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("../../proto");
    let files = [
        "pontoon/v1/objects.proto",
        "pontoon/v1/pods.proto",
        "pontoon/v1/cluster.proto",
        "pontoon/v1/join.proto",
        "node/v1/node.proto",
        "node/v1/relay.proto",
        "raft/v1/raft.proto",
    ];
    for file in files {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
    }
    let descriptors = protox::compile(files, [&root])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(
        out.join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(descriptors)?;
    Ok(())
}
