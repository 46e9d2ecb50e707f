//! patch: an object changed by what a JSON, merge or strategic merge patch says.

use super::update::{Draft, Manner, part_of, wrong_name};
use super::{Verbs, check_fields, meta_text, settle};
use crate::error::VerbError;
use crate::request::{Caller, PatchBody, Target, Verb, WriteOptions, Written};
use pontoon_api::patch::{PatchError, PatchType, apply};
use pontoon_api::{FieldError, FieldErrorKind};
use serde_json::Value;

impl Verbs {
    /// Patches an object, or its status. Where the patch names no version, a lost race is tried again.
    ///
    /// # Errors
    /// 400, 403, 404, 409, 413, 422.
    pub async fn patch(
        &self,
        caller: &Caller,
        target: &Target,
        patch: PatchBody,
        duplicates: Vec<String>,
        options: &WriteOptions,
    ) -> Result<Written, VerbError> {
        self.authorize(caller, Verb::Patch, target)?;
        if target.subresource == "scale" {
            return self.patch_scale(caller, target, &patch, options).await;
        }
        let manner = Manner {
            verb: Verb::Patch,
            part: part_of(target)?,
            dry_run: options.dry_run,
        };
        let validation = options.validation;
        self.change(caller, target, manner, |stored| {
            let mut body = patched(target, &target.shown_value(stored), &patch)?;
            settle(target, &mut body)?;
            if meta_text(&body, "name") != target.name {
                return Err(wrong_name(target, meta_text(&body, "name")));
            }
            let warnings = check_fields(target, &body, &duplicates, validation)?;
            Ok(Draft { body, warnings })
        })
        .await
        .map(|written| written.shown(target))
    }
}

/// Applies a patch to a value of the target's kind.
pub(super) fn patched(
    target: &Target,
    object: &Value,
    patch: &PatchBody,
) -> Result<Value, VerbError> {
    let (patch, how) = match patch {
        PatchBody::Json(patch) => (patch, PatchType::Json),
        PatchBody::Merge(patch) => (patch, PatchType::Merge),
        PatchBody::Strategic(patch) => (patch, PatchType::Strategic),
    };
    apply(target.descriptor().kind, object, patch, how).map_err(|error| match error {
        PatchError::Malformed(detail) => VerbError::BadRequest(detail),
        PatchError::TooLarge(detail) => VerbError::TooLarge(detail),
        error @ PatchError::DoesNotApply(_) => VerbError::Invalid {
            group: target.descriptor().group.to_owned(),
            kind: target.descriptor().kind.to_owned(),
            name: target.name.clone(),
            errors: vec![FieldError {
                field: "patch".into(),
                kind: FieldErrorKind::Invalid,
                message: error.to_string(),
            }],
        },
    })
}
