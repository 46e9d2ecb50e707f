//! Logs, the metrics registry, traces and health: how Pontoon tells what it does.
//!
//! Each crate emits with `tracing` and `metrics` directly; what is here is where those
//! emissions go, and it is set up once, by the binary, with [`start`]. This crate knows
//! nothing of Pontoon's own parts: a crate's metrics are named in that crate's `metrics.rs`.
//!
//! Not here: an HTTP server. [`Metrics::render`] and [`Health::report`] give texts, and the API
//! server serves them.
//!
//! Invariants:
//! - no configuration has a `Default`: the binary says what it wants;
//! - telemetry never stops or slows the program for long: a full trace queue drops spans, an
//!   unreachable collector costs nothing but its spans.

pub mod health;
pub mod log;
pub mod metrics;
mod process;
pub mod trace;

pub use health::Health;
pub use metrics::Metrics;

use opentelemetry::trace::TracerProvider as _;
use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The filter is not one; the text says where it goes wrong.
    #[error("log filter {filter:?} is not valid")]
    Filter {
        /// As given.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The collector's address cannot be used.
    #[error(transparent)]
    Trace(#[from] trace::ExportError),
    /// A subscriber was set before.
    #[error("telemetry was already started")]
    Twice(#[source] tracing_subscriber::util::TryInitError),
}

/// Sends logs to standard error and, when `export` is given, spans to its collector.
///
/// Call it once, inside a tokio runtime if `export` is given, and keep the guard until the
/// end: spans that wait are sent when it is dropped.
///
/// # Errors
/// See [`StartError`].
pub fn start(
    log: &log::Config,
    export: Option<&trace::Config>,
) -> Result<trace::Guard, StartError> {
    let filter = log.filter()?;
    let provider = export.map(trace::Config::provider).transpose()?;
    let spans = provider.as_ref().map(|provider| {
        tracing_opentelemetry::layer()
            .with_tracer(provider.tracer("pontoon"))
            .with_filter(trace::filter())
    });
    tracing_subscriber::registry()
        .with(log.layer().with_filter(filter))
        .with(spans)
        .try_init()
        .map_err(StartError::Twice)?;
    Ok(trace::Guard::new(provider))
}
