//! Typed client and watcher over gRPC.
