//! How much is served at once. Watches count apart, so that informers cannot starve requests.

use crate::error::VerbError;
use crate::limits::{CONCURRENT_REQUESTS, CONCURRENT_WATCHES, RETRY_AFTER};
use crate::metrics::{Open, refused};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The two gates.
#[derive(Debug)]
pub(crate) struct Gates {
    requests: Arc<Semaphore>,
    watches: Arc<Semaphore>,
}

/// Leave to watch, kept as long as the watch lives.
pub(crate) struct WatchPermit {
    _permit: OwnedSemaphorePermit,
    _open: Open,
}

impl Gates {
    pub(crate) fn new() -> Self {
        Self::with(CONCURRENT_REQUESTS, CONCURRENT_WATCHES)
    }

    pub(crate) fn with(requests: usize, watches: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            watches: Arc::new(Semaphore::new(watches)),
        }
    }

    /// Leave to serve a request.
    ///
    /// # Errors
    /// 429 when too many are being served.
    pub(crate) fn request(&self) -> Result<OwnedSemaphorePermit, VerbError> {
        self.requests
            .clone()
            .try_acquire_owned()
            .map_err(|_| full("requests"))
    }

    /// Leave to watch.
    ///
    /// # Errors
    /// 429 when too many watch.
    pub(crate) fn watch(&self) -> Result<WatchPermit, VerbError> {
        let permit = self
            .watches
            .clone()
            .try_acquire_owned()
            .map_err(|_| full("watches"))?;
        Ok(WatchPermit {
            _permit: permit,
            _open: Open::watch(),
        })
    }
}

fn full(what: &'static str) -> VerbError {
    refused(what);
    VerbError::TooManyRequests {
        message: format!("the server serves too many {what}, please try again later"),
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::respond;

    #[test]
    fn a_full_gate_refuses_with_429_and_watches_count_apart() {
        let gates = Gates::with(1, 1);
        let held = gates.request().unwrap();
        let error = gates.request().unwrap_err();
        assert_eq!(respond::http_code(&error), 429);
        assert_eq!(respond::retry_after(&error), Some(1));
        let watch = gates.watch().unwrap();
        assert!(gates.watch().is_err());
        drop((held, watch));
        assert!(gates.request().is_ok() && gates.watch().is_ok());
    }
}
