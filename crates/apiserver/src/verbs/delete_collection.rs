//! deletecollection: every selected object of a collection.

use super::{Deleted, Verbs};
use crate::error::VerbError;
use crate::limits::DELETE_CONCURRENCY;
use crate::request::{Caller, DeleteOptions, ListOptions, Target, Verb};
use futures::StreamExt as _;
use futures::TryStreamExt as _;

impl Verbs {
    /// Deletes every selected object. Objects that go meanwhile are nobody's error.
    ///
    /// # Errors
    /// 403, and the first error a deletion meets.
    pub async fn delete_collection(
        &self,
        caller: &Caller,
        target: &Target,
        selected: &ListOptions,
        options: &DeleteOptions,
    ) -> Result<Vec<Deleted>, VerbError> {
        self.authorize(caller, Verb::DeleteCollection, target)?;
        let listed = self.list_unchecked(target, selected).await?;
        let deletions = listed.objects.into_iter().map(|object| {
            let mut one = target.clone();
            one.namespace = object.key.namespace.to_string();
            one.name = object.key.name.to_string();
            async move {
                match self.delete_unchecked(caller, &one, options).await {
                    Ok(deleted) => Ok(Some(deleted)),
                    Err(VerbError::NotFound { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            }
        });
        let deleted: Vec<Option<Deleted>> = futures::stream::iter(deletions)
            .buffered(DELETE_CONCURRENCY)
            .try_collect()
            .await?;
        Ok(deleted.into_iter().flatten().collect())
    }
}
