//! Spans to an OTLP collector, and the one line of text that carries a trace across
//! processes and through the log.
//!
//! A write is followed from request through proposal, apply and reconcile to the runtime by
//! its `traceparent` (W3C Trace Context, level 1): the sender puts [`current`] into the HTTP
//! header [`HEADER`], the log command or the assignment; the receiver hands it to [`adopt`]
//! with the span it has just made.

use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use std::{collections::HashMap, time::Duration};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::EnvFilter;

/// The HTTP header and gRPC metadata key of a trace's parent.
pub const HEADER: &str = "traceparent";

/// How long an export may take, and how long the end waits for the last one: a collector
/// that is slower is treated as gone.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The spans that are exported: our own. Those of the libraries would, among others, trace the
/// export itself.
const EXPORTED: &str = "off,pontoon=info";

/// Where spans go.
#[derive(Debug, Clone)]
pub struct Config {
    /// The collector's gRPC address, such as `http://127.0.0.1:4317`.
    pub endpoint: String,
    /// `service.name`: `pontoon-server`, `pontoon-agent`.
    pub service: String,
    /// `service.version`.
    pub version: String,
    /// `service.instance.id`: the node's name.
    pub instance: String,
    /// The share of traces begun here that are kept, 0 to 1. One begun elsewhere is kept when
    /// its beginner says so.
    pub ratio: f64,
}

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// Not an address this build can reach.
    #[error(
        "trace endpoint {0:?} must begin with http://: put a local collector in front of a TLS one"
    )]
    Scheme(String),
    /// The exporter refused it.
    #[error("trace endpoint {endpoint:?} cannot be used")]
    Exporter {
        /// As given.
        endpoint: String,
        /// What the exporter said.
        #[source]
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

impl Config {
    /// Connects lazily, so that a collector that is not there yet is no error.
    pub(crate) fn provider(&self) -> Result<SdkTracerProvider, ExportError> {
        if !self.endpoint.starts_with("http://") {
            return Err(ExportError::Scheme(self.endpoint.clone()));
        }
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(EXPORT_TIMEOUT)
            .build()
            .map_err(|source| ExportError::Exporter {
                endpoint: self.endpoint.clone(),
                source,
            })?;
        let resource = Resource::builder()
            .with_service_name(self.service.clone())
            .with_attribute(opentelemetry::KeyValue::new(
                "service.version",
                self.version.clone(),
            ))
            .with_attribute(opentelemetry::KeyValue::new(
                "service.instance.id",
                self.instance.clone(),
            ))
            .build();
        Ok(SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(
                self.ratio,
            ))))
            .with_resource(resource)
            .build())
    }
}

/// Which spans are exported.
pub(crate) fn filter() -> EnvFilter {
    EnvFilter::new(EXPORTED)
}

/// Sends the waiting spans when dropped.
///
/// Drop it outside async code, after the runtime's work is done but while the runtime lives: it
/// waits for the collector, at most five seconds.
#[derive(Debug)]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    pub(crate) const fn new(provider: Option<SdkTracerProvider>) -> Self {
        Self { provider }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = self.provider.take() {
            // The last spans are lost with their collector; the program is ending, and nobody
            // is left to be told.
            let _ = provider.shutdown_with_timeout(EXPORT_TIMEOUT);
        }
    }
}

/// The current span as a `traceparent`, to be sent along with what it causes. `None` when no
/// traces are made.
#[must_use]
pub fn current() -> Option<String> {
    of(&Span::current())
}

/// A given span as a `traceparent`.
#[must_use]
pub fn of(span: &Span) -> Option<String> {
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&span.context(), &mut carrier);
    carrier.remove(HEADER)
}

/// Makes `span` a child of the span that sent `parent`. To be called before the span is first
/// entered; a text that is not a `traceparent` is ignored, as W3C asks.
pub fn adopt(span: &Span, parent: &str) {
    let carrier = HashMap::from([(HEADER.to_owned(), parent.to_owned())]);
    let context = TraceContextPropagator::new().extract(&carrier);
    if opentelemetry::trace::TraceContextExt::has_active_span(&context) {
        // It fails when no traces are made, or for a span that has begun: then the trace is
        // shorter than it could be, which is nothing to act on.
        let _ = span.set_parent(context);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use tracing_subscriber::layer::SubscriberExt as _;

    fn traced<T>(work: impl FnOnce() -> T) -> T {
        let provider = SdkTracerProvider::builder().build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work)
    }

    #[test]
    fn a_trace_continues_on_the_other_side_of_its_traceparent() {
        let sent = traced(|| tracing::info_span!("request").in_scope(current)).unwrap();
        let received = traced(|| {
            let span = tracing::info_span!("apply");
            adopt(&span, &sent);
            span.in_scope(current)
        })
        .unwrap();
        let trace_id = |text: &str| text.split('-').nth(1).unwrap().to_owned();
        assert_eq!(trace_id(&sent), trace_id(&received));
        assert_ne!(sent, received, "it is another span of the same trace");
    }

    #[test]
    fn a_text_that_is_no_traceparent_begins_a_trace_of_its_own() {
        for garbage in [
            "",
            "00-0-0-00",
            "hello",
            "00-00000000000000000000000000000000-0000000000000000-01",
        ] {
            let own = traced(|| {
                let span = tracing::info_span!("apply");
                adopt(&span, garbage);
                span.in_scope(current)
            });
            assert!(own.is_some(), "{garbage:?}");
        }
    }

    #[test]
    fn without_traces_there_is_nothing_to_send_along() {
        assert_eq!(current(), None);
        adopt(
            &Span::current(),
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        );
    }

    #[test]
    fn an_endpoint_with_tls_is_refused_with_a_way_out() {
        let config = Config {
            endpoint: "https://collector:4317".to_owned(),
            service: "pontoon-server".to_owned(),
            version: "1".to_owned(),
            instance: "a".to_owned(),
            ratio: 1.0,
        };
        let error = config.provider().unwrap_err().to_string();
        assert!(error.contains("put a local collector in front"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn spans_are_sent_to_the_collector_when_the_guard_is_dropped() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config {
            endpoint: format!("http://{}", listener.local_addr().unwrap()),
            service: "pontoon-server".to_owned(),
            version: "1".to_owned(),
            instance: "a".to_owned(),
            ratio: 1.0,
        };
        let provider = config.provider().unwrap();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info_span!("request").in_scope(|| ());
        });
        let ending = tokio::task::spawn_blocking(move || drop(Guard::new(Some(provider))));
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut preface = [0; 14];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut preface)
            .await
            .unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0");
        drop(stream);
        drop(listener);
        ending.await.unwrap();
    }
}
