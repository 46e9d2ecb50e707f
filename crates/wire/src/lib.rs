//! gRPC messages and services generated from `proto/`.
//!
//! Holds no logic: only what the wire looks like. Durable formats are not here (they
//! belong to `state`), and neither are Kubernetes' own types (they travel as JSON).
#![allow(
    missing_docs,
    unused_qualifications,
    clippy::large_enum_variant,
    clippy::doc_lazy_continuation,
    rustdoc::all
)]

/// The client API: objects, pods, cluster.
pub mod pontoon {
    pub mod v1 {
        tonic::include_proto!("pontoon.v1");
    }
}
/// Server and agent.
pub mod node {
    pub mod v1 {
        tonic::include_proto!("node.v1");
    }
}
/// Replica to replica.
pub mod raft {
    pub mod v1 {
        tonic::include_proto!("raft.v1");
    }
}

/// The encoded `FileDescriptorSet` of every file above, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// The largest gRPC message either side accepts, in bytes: one transaction of objects
/// (see `state`'s limits) with room for framing.
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
