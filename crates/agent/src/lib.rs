//! The node driver: session, pods, probes, volumes, logs.
