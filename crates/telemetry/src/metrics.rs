//! The metrics registry and its Prometheus text.
//!
//! Crates count with the macros of `metrics`; names and descriptions live in each crate's
//! `metrics.rs`, as `pontoon_<component>_<noun>_<unit>[_total]`.

use crate::process;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{sync::OnceLock, time::Duration};

/// How often samples of histograms are folded into their buckets. Between two folds each
/// sample is kept (8 bytes): at 100,000 observations a second this is 4 MB.
const UPKEEP_PERIOD: Duration = Duration::from_secs(5);

/// Upper bounds of latency buckets, in seconds: from what a read in memory takes (50 µs) to
/// what a client gives up on, each about twice the one before.
pub const LATENCY_SECONDS: [f64; 18] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Upper bounds of size buckets, in bytes: 64 B to 16 MiB, each four times the one before.
pub const SIZE_BYTES: [f64; 10] = [
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
];

/// Upper bounds of the buckets of everything else, such as batch lengths.
pub const COUNTS: [f64; 11] = [
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1_024.0, 4_096.0,
];

/// What every component counts into. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The process's registry, installed as the one that `metrics`' macros count into. Later
    /// calls give the same one, so that several servers can live in one test process.
    ///
    /// Whoever calls it first must see that [`Metrics::upkeep`] runs.
    #[must_use]
    pub fn install() -> Self {
        static INSTALLED: OnceLock<PrometheusHandle> = OnceLock::new();
        let handle = INSTALLED.get_or_init(|| {
            let recorder = builder().build_recorder();
            let handle = recorder.handle();
            if metrics::set_global_recorder(recorder).is_err() {
                tracing::warn!("another metrics recorder is installed: /metrics stays empty");
            }
            process::describe();
            handle
        });
        Self {
            handle: handle.clone(),
        }
    }

    /// Everything counted so far, in Prometheus' text format (version 0.0.4), together with what
    /// the process uses at this moment.
    #[must_use]
    pub fn render(&self) -> String {
        process::record();
        self.handle.render()
    }

    /// Keeps the registry's memory bounded; run it as a task for as long as the process lives.
    pub async fn upkeep(self) {
        let mut period = tokio::time::interval(UPKEEP_PERIOD);
        loop {
            period.tick().await;
            self.handle.run_upkeep();
        }
    }
}

/// The media type of [`Metrics::render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn builder() -> PrometheusBuilder {
    let known = "the bounds are not empty";
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), &SIZE_BYTES)
        })
        .and_then(|builder| builder.set_buckets(&COUNTS))
        .expect(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(work: impl FnOnce()) -> String {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, work);
        handle.render()
    }

    #[test]
    fn what_is_counted_is_rendered_with_its_description() {
        let text = rendered(|| {
            metrics::describe_counter!("pontoon_test_requests_total", "Requests served.");
            metrics::counter!("pontoon_test_requests_total", "verb" => "get").increment(3);
        });
        assert!(
            text.contains("# HELP pontoon_test_requests_total Requests served."),
            "{text}"
        );
        assert!(
            text.contains("pontoon_test_requests_total{verb=\"get\"} 3"),
            "{text}"
        );
    }

    #[test]
    fn durations_fall_into_latency_buckets() {
        let text = rendered(|| metrics::histogram!("pontoon_test_request_seconds").record(0.000_2));
        assert!(
            text.contains("pontoon_test_request_seconds_bucket{le=\"0.0001\"} 0"),
            "{text}"
        );
        assert!(
            text.contains("pontoon_test_request_seconds_bucket{le=\"0.00025\"} 1"),
            "{text}"
        );
    }

    #[test]
    fn the_process_is_measured_when_rendered() {
        let text = rendered(|| {
            process::describe();
            process::record();
        });
        for name in [
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_cpu_seconds_total",
            "process_open_fds",
            "process_start_time_seconds",
            "process_threads",
        ] {
            let line = text
                .lines()
                .find(|line| line.starts_with(&format!("{name} ")));
            let value = line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
            assert!(
                value.is_some_and(|value| value >= 0.0),
                "{name} in:\n{text}"
            );
        }
        assert!(
            !text.contains("process_resident_memory_bytes 0\n"),
            "{text}"
        );
    }

    #[test]
    fn installing_twice_gives_the_same_registry() {
        let (one, other) = (Metrics::install(), Metrics::install());
        metrics::counter!("pontoon_test_installed_total").increment(1);
        assert!(one.render().contains("pontoon_test_installed_total 1"));
        assert!(other.render().contains("pontoon_test_installed_total 1"));
    }
}
