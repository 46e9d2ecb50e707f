//! Logs, the metrics registry, traces and health.
