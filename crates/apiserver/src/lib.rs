//! REST and gRPC fronts over one verb layer.
