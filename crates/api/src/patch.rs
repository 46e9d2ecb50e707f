//! Changing an object by a patch: JSON patch (RFC 6902), JSON merge patch (RFC 7396) and Kubernetes' strategic merge
//! patch.

mod json;
mod merge;
mod strategic;

use serde_json::Value;

/// How a patch is written, as its content type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PatchType {
    /// `application/json-patch+json`.
    Json,
    /// `application/merge-patch+json`.
    Merge,
    /// `application/strategic-merge-patch+json`.
    Strategic,
}

/// Why a patch could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 400: it is not a patch of its type.
    #[error("{0}")]
    Malformed(String),
    /// 413: more operations or copied bytes than a patch may have.
    #[error("{0}")]
    TooLarge(String),
    /// 422: it is a patch, and it does not fit this object (a failed test, a missing path).
    #[error("the server rejected our request due to an error in our request: {0}")]
    DoesNotApply(String),
}

/// Applies `patch` to `object`, an object of `kind` (such as `Deployment`: strategic merging depends on it).
///
/// # Errors
/// [`PatchError`]; the object is untouched.
pub fn apply(
    kind: &str,
    object: &Value,
    patch: &Value,
    how: PatchType,
) -> Result<Value, PatchError> {
    match how {
        PatchType::Json => json::apply(object, patch),
        PatchType::Merge => merge::apply(object, patch),
        PatchType::Strategic => strategic::apply(kind, object, patch),
    }
}
