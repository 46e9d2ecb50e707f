//! Limits on what a client may send. Each says why that number.

/// Largest object at rest or in a request, in bytes: etcd's default request limit, which
/// Kubernetes' users know.
pub const OBJECT_BYTES: usize = 1_572_864;

/// Largest request body, in bytes: Kubernetes' `MaxRequestBodyBytes` (3 MiB). A body may be
/// larger than the object made of it, as pretty-printed JSON and YAML are.
pub const BODY_BYTES: usize = 3 << 20;

/// Most operations in one JSON patch: Kubernetes' cap since CVE-2019-1002100.
pub const PATCH_OPERATIONS: usize = 10_000;

/// Deepest nesting of a JSON or YAML document: serde_json's own recursion limit.
pub const DOCUMENT_DEPTH: usize = 128;

/// Stack of a thread that reads documents. The YAML parser takes up to 20 KiB per level of nesting where it is not optimised;
/// 2 MiB, a thread's default, end before [`DOCUMENT_DEPTH`] is reached, and with them the process.
pub const DECODE_STACK_BYTES: usize = 8 << 20;

/// Most values in one protobuf body. Two bytes can make an item of a list, which as JSON takes seven or more, and an
/// item takes some hundred bytes of memory. The largest object of real life has a tenth of this.
pub const PROTOBUF_VALUES: usize = 250_000;
