//! get: one object, from the present or the past.

use super::Verbs;
use crate::error::VerbError;
use crate::request::{Caller, Freshness, Target, Verb};
use pontoon_api::Revision;
use pontoon_state::Object;
use pontoon_state::apply::PastError;
use std::sync::Arc;

impl Verbs {
    /// One object.
    ///
    /// # Errors
    /// 404, 403, 410 when the past asked for is forgotten.
    pub async fn get(
        &self,
        caller: &Caller,
        target: &Target,
        freshness: Freshness,
    ) -> Result<Arc<Object>, VerbError> {
        self.authorize(caller, Verb::Get, target)?;
        let found = if let Freshness::Exact(revision) = freshness {
            self.get_at(target, revision).await?
        } else {
            let view = self.view(freshness).await?;
            view.get(&target.key())
                .cloned()
                .ok_or_else(|| target.not_found())?
        };
        Ok(target.shown(found))
    }

    async fn get_at(&self, target: &Target, revision: Revision) -> Result<Arc<Object>, VerbError> {
        let view = self.reached(revision).await?;
        if view.revision() == revision {
            return view
                .get(&target.key())
                .cloned()
                .ok_or_else(|| target.not_found());
        }
        let (history, key) = (self.replica.history(), target.key());
        let found = blocking(move || history.get_at(&key, revision)).await?;
        found.map_err(past)?.ok_or_else(|| target.not_found())
    }
}

/// Runs a read of the store's files where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> T + Send + 'static,
) -> Result<T, VerbError> {
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| VerbError::Internal(error.to_string()))
}

/// What a failed read of the past means to a client.
pub(super) fn past(error: PastError) -> VerbError {
    match error {
        PastError::Compacted(_) => VerbError::Expired {
            message: "The resourceVersion for the provided list is too old.".into(),
            token: None,
        },
        PastError::Kv(error) => {
            tracing::error!(%error, "the store cannot be read");
            VerbError::Internal(error.to_string())
        }
    }
}
