//! What the API server counts.

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use std::time::Instant;

const REQUESTS: &str = "pontoon_apiserver_requests_total";
const LATENCY: &str = "pontoon_apiserver_request_seconds";
const WATCHES: &str = "pontoon_apiserver_watches_open";
const SESSIONS: &str = "pontoon_apiserver_sessions_open";
const CONNECTIONS: &str = "pontoon_apiserver_connections_open";
const REFUSED: &str = "pontoon_apiserver_refused_requests_total";

/// Describes every metric of this crate.
pub(crate) fn describe() {
    describe_counter!(REQUESTS, "Requests answered, by front and code.");
    describe_histogram!(
        LATENCY,
        "Time until a request was answered; for a stream, until it began."
    );
    describe_gauge!(WATCHES, "Watches and streams that are open.");
    describe_gauge!(SESSIONS, "Sessions of agents that are open.");
    describe_gauge!(CONNECTIONS, "Connections that are open.");
    describe_counter!(REFUSED, "Requests refused with 429, by what was full.");
}

/// One request being served.
pub(crate) struct Finished {
    front: &'static str,
    started: Instant,
}

impl Finished {
    pub(crate) fn start(front: &'static str) -> Self {
        Self {
            front,
            started: Instant::now(),
        }
    }

    /// Counts it with its HTTP code.
    pub(crate) fn with(self, code: u16) {
        counter!(REQUESTS, "front" => self.front, "code" => code.to_string()).increment(1);
        histogram!(LATENCY, "front" => self.front).record(self.started.elapsed().as_secs_f64());
    }
}

/// Counts something open, for as long as it is kept.
pub(crate) struct Open(&'static str);

impl Open {
    fn new(name: &'static str) -> Self {
        gauge!(name).increment(1.0);
        Self(name)
    }

    pub(crate) fn watch() -> Self {
        Self::new(WATCHES)
    }

    pub(crate) fn session() -> Self {
        Self::new(SESSIONS)
    }

    pub(crate) fn connection() -> Self {
        Self::new(CONNECTIONS)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        gauge!(self.0).decrement(1.0);
    }
}

/// Counts a refusal.
pub(crate) fn refused(what: &'static str) {
    counter!(REFUSED, "full" => what).increment(1);
}
