//! Views kept between the pages of a list, so that they all see one present.
//!
//! A view shares its structure with its successors: keeping one costs what has changed since.

use crate::limits::{PAGE_VIEW_AGE, PAGE_VIEWS};
use parking_lot::Mutex;
use pontoon_api::Revision;
use pontoon_state::View;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// The kept views, the oldest first.
#[derive(Default)]
pub(super) struct Pages {
    kept: Mutex<VecDeque<(Duration, Arc<View>)>>,
}

impl Pages {
    /// Keeps a view. `now` is the monotonic time.
    pub(super) fn keep(&self, view: &Arc<View>, now: Duration) {
        let mut kept = self.kept.lock();
        while kept
            .front()
            .is_some_and(|(since, _)| now.saturating_sub(*since) > PAGE_VIEW_AGE)
        {
            kept.pop_front();
        }
        if kept
            .iter()
            .any(|(_, found)| found.revision() == view.revision())
        {
            return;
        }
        if kept.len() == PAGE_VIEWS {
            kept.pop_front();
        }
        kept.push_back((now, view.clone()));
    }

    /// The view at exactly this revision, if kept.
    pub(super) fn at(&self, revision: Revision) -> Option<Arc<View>> {
        self.kept
            .lock()
            .iter()
            .find(|(_, view)| view.revision() == revision)
            .map(|(_, view)| view.clone())
    }
}
